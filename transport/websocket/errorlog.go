package websocket

import (
	"io"
	"log"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// maxLogLines is how many messages of one kind are logged per second.
	maxLogLines = 10
	// maxLogLine is how much of a message is logged, in bytes. A panic comes
	// with its stack, which is worth more.
	maxLogLine  = 256
	maxLogStack = 4 << 10
)

// logKinds are the beginnings of what http.Server logs. Kinds are limited apart,
// so that clients who fail in the handshake do not hide that Accept fails.
var logKinds = [...]string{"http: TLS handshake error", "http: Accept error", panicKind, ""}

const panicKind = "http: panic serving"

// newErrorLog returns the logger for the server of an own listener: what it says
// is due to strangers, who decide how much and, in parts, what.
func newErrorLog(to *log.Logger) *log.Logger {
	if to == nil {
		return log.New(io.Discard, "", 0)
	}
	return log.New(&calmLog{to: to}, "", 0)
}

// calmLog passes messages on, bounded in number and size and in what they can do
// to a terminal.
type calmLog struct {
	to *log.Logger

	mu    sync.Mutex
	kinds [len(logKinds)]logKind // guarded by mu
}

type logKind struct {
	since   time.Time // when the current second began
	lines   int       // passed on in it
	dropped int       // held back since the last one that was passed on
}

// Write is called with one message.
func (c *calmLog) Write(p []byte) (int, error) {
	line := string(p)
	kind := 0
	for !strings.HasPrefix(line, logKinds[kind]) {
		kind++
	}
	dropped, ok := c.admit(kind)
	if !ok {
		return len(p), nil
	}
	if dropped > 0 {
		c.to.Printf("%d more messages like the next one were left out", dropped)
	}
	c.to.Print(clean(line, logKinds[kind] == panicKind))
	return len(p), nil
}

// admit says whether a message of a kind may be passed on now, and how many were
// left out before it.
func (c *calmLog) admit(kind int) (dropped int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.kinds[kind]
	if now := time.Now(); k.lines == 0 || now.Sub(k.since) >= time.Second {
		k.since, k.lines = now, 0
	}
	if k.lines == maxLogLines {
		k.dropped++
		return 0, false
	}
	k.lines++
	dropped, k.dropped = k.dropped, 0
	return dropped, true
}

// clean returns line cut, and without what is not printable.
func clean(line string, stack bool) string {
	limit := maxLogLine
	if stack {
		limit = maxLogStack
	}
	line = strings.TrimSuffix(line, "\n")
	if len(line) > limit {
		line = line[:limit] + "…"
	}
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) && r != utf8.RuneError || stack && (r == '\n' || r == '\t') {
			return r
		}
		return '?'
	}, line)
}
