package quic

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

// maxLogLines is how many failed handshakes are logged per second, since strangers
// can cause them at any rate, and how many wait for a logger that is slow.
const maxLogLines = 10

// calmLog passes messages about strangers on, bounded in number, from a goroutine of
// its own: the logger is the user's, and Close waits for those who have seen the
// strangers.
type calmLog struct {
	to *slog.Logger

	mu      sync.Mutex
	since   time.Time   // guarded by mu; when the current second began
	lines   int         // guarded by mu; admitted in it
	dropped int         // guarded by mu; left out since the last one that was admitted
	waiting []complaint // guarded by mu; admitted and not yet passed on, at most maxLogLines
	passing bool        // guarded by mu; pass is running
}

// complaint is a message about a client that failed.
type complaint struct {
	client  net.Addr
	err     error
	dropped int // how many were left out before it
}

func newCalmLog(to *slog.Logger) *calmLog { return &calmLog{to: to} }

// stranger logs why a client failed in the handshake, unless there is too much of
// that. It does not wait for the logger.
func (c *calmLog) stranger(addr net.Addr, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.lines == 0 || now.Sub(c.since) >= time.Second {
		c.since, c.lines = now, 0
	}
	if c.lines == maxLogLines || len(c.waiting) == maxLogLines {
		c.dropped++
		return
	}
	c.lines++
	c.waiting = append(c.waiting, complaint{addr, err, c.dropped})
	c.dropped = 0
	if !c.passing {
		c.passing = true
		go c.pass()
	}
}

// pass tells the logger what waits, in order. Nobody waits for it: with a logger that
// blocks for ever it is the one goroutine that stays.
func (c *calmLog) pass() {
	for {
		next, ok := c.next()
		if !ok {
			return
		}
		attrs := []slog.Attr{slog.String("client", next.client.String()), slog.Any("error", plain(next.err))}
		if next.dropped > 0 {
			attrs = append(attrs, slog.Int("left_out", next.dropped))
		}
		c.to.LogAttrs(context.Background(), slog.LevelWarn, "quic: a client failed in the handshake", attrs...)
	}
}

// next takes the first message that waits. Where there is none, pass is over.
func (c *calmLog) next() (_ complaint, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.waiting, c.passing = nil, false
		return complaint{}, false
	}
	first := c.waiting[0]
	c.waiting = c.waiting[1:]
	return first, true
}
