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
	// maxLogLines is how many messages of one kind are logged per second, and how
	// many wait for a logger that is slow.
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
// to a terminal, from a goroutine of its own: the logger is the user's, and Close
// waits for the server's goroutines.
type calmLog struct {
	to *log.Logger

	mu      sync.Mutex
	kinds   [len(logKinds)]logKind // guarded by mu
	waiting []message              // guarded by mu; admitted and not yet passed on
	passing bool                   // guarded by mu; pass is running
}

type logKind struct {
	since   time.Time // when the current second began
	lines   int       // admitted in it
	waiting int       // of calmLog.waiting, at most maxLogLines
	dropped int       // left out since the last one that was admitted
}

// message is one that was admitted.
type message struct {
	kind    int
	text    string
	dropped int // how many of its kind were left out before it
}

// Write is called with one message. It does not wait for the logger.
func (c *calmLog) Write(p []byte) (int, error) {
	line := string(p)
	kind := 0
	for !strings.HasPrefix(line, logKinds[kind]) {
		kind++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.kinds[kind]
	if now := time.Now(); k.lines == 0 || now.Sub(k.since) >= time.Second {
		k.since, k.lines = now, 0
	}
	if k.lines == maxLogLines || k.waiting == maxLogLines {
		k.dropped++
		return len(p), nil
	}
	k.lines++
	k.waiting++
	c.waiting = append(c.waiting, message{kind, clean(line, logKinds[kind] == panicKind), k.dropped})
	k.dropped = 0
	if !c.passing {
		c.passing = true
		go c.pass()
	}
	return len(p), nil
}

// pass tells the logger what waits, in order. Nobody waits for it: with a logger that
// blocks for ever it is the one goroutine that stays.
func (c *calmLog) pass() {
	for {
		next, ok := c.next()
		if !ok {
			return
		}
		if next.dropped > 0 {
			c.to.Printf("%d more messages like the next one were left out", next.dropped)
		}
		c.to.Print(next.text)
	}
}

// next takes the first message that waits. Where there is none, pass is over.
func (c *calmLog) next() (_ message, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.waiting, c.passing = nil, false
		return message{}, false
	}
	first := c.waiting[0]
	c.waiting = c.waiting[1:]
	c.kinds[first.kind].waiting--
	return first, true
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
