package lab

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// LogBook is a logger that remembers. The zero value is ready, and everything may
// be called concurrently.
type LogBook struct {
	Refused chan struct{} // told of every line about a refused connection, if not nil

	mu  sync.Mutex
	buf bytes.Buffer
}

// Write takes a line from the logger.
func (b *LogBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Refused != nil && bytes.Contains(p, []byte("inbound connection refused")) {
		select {
		case b.Refused <- struct{}{}:
		default:
		}
	}
	return b.buf.Write(p)
}

// String returns all that was logged.
func (b *LogBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Lines returns the number of lines that were logged.
func (b *LogBook) Lines() int { return strings.Count(b.String(), "\n") }

// Logger returns a logger for Config.Logger.
func (b *LogBook) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
