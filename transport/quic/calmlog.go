package quic

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

// maxLogLines is how many failed handshakes are logged per second: strangers
// can cause them at any rate.
const maxLogLines = 10

// calmLog passes messages about strangers on, bounded in number.
type calmLog struct {
	to *slog.Logger

	mu      sync.Mutex
	since   time.Time // guarded by mu; when the current second began
	lines   int       // guarded by mu; passed on in it
	dropped int       // guarded by mu; held back since the last one that was passed on
}

func newCalmLog(to *slog.Logger) *calmLog { return &calmLog{to: to} }

// stranger logs why a client failed in the handshake, unless there is too much of
// that.
func (c *calmLog) stranger(addr net.Addr, err error) {
	dropped, ok := c.admit()
	if !ok {
		return
	}
	attrs := []slog.Attr{slog.String("client", addr.String()), slog.Any("error", plain(err))}
	if dropped > 0 {
		attrs = append(attrs, slog.Int("left_out", dropped))
	}
	c.to.LogAttrs(context.Background(), slog.LevelWarn, "quic: a client failed in the handshake", attrs...)
}

// admit says whether a message may be passed on now, and how many were left out
// before it.
func (c *calmLog) admit() (dropped int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.lines == 0 || now.Sub(c.since) >= time.Second {
		c.since, c.lines = now, 0
	}
	if c.lines == maxLogLines {
		c.dropped++
		return 0, false
	}
	c.lines++
	dropped, c.dropped = c.dropped, 0
	return dropped, true
}
