package payload

import (
	"fmt"
	"log/slog"
	"strings"
)

// What a message shows of itself in a log, so that a line stays a line.
const (
	maxLogEntries  = 16  // of a map
	maxLogElements = 4   // of an array
	maxLogText     = 128 // bytes of a string
)

// clip returns the beginning of a text.
func clip(text string) string {
	if len(text) <= maxLogText {
		return text
	}
	// Cut within a character, its first bytes are none.
	return strings.ToValidUTF8(text[:maxLogText], "") + "…"
}

// more tells of n that are not shown.
func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (+%d)", n)
}

// logEntries is a group of the first of names.
func logEntries(names []string, value func(name string) slog.Value) slog.Value {
	shown := names[:min(len(names), maxLogEntries)]
	attrs := make([]slog.Attr, 0, len(shown)+1)
	for _, name := range shown {
		attrs = append(attrs, slog.Attr{Key: clip(name), Value: value(name)})
	}
	if rest := len(names) - len(shown); rest > 0 {
		attrs = append(attrs, slog.String("…", more(rest)))
	}
	return slog.GroupValue(attrs...)
}
