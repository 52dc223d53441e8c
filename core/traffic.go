package core

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// traffic is what the sessions with a peer have carried after their handshakes.
type traffic struct {
	sent, received atomic.Int64 // bytes of transport frames, without what the transport adds
	roundTrip      atomic.Int64 // nanoseconds that the last answered ping took; 0: none was
}

// wrote counts frames that were given to the link.
func (t *traffic) wrote(frames [][]byte, headroom int) {
	n := 0
	for _, f := range frames {
		n += len(f) - headroom
	}
	t.sent.Add(int64(n))
}

// Ping sends a frame that the library of the other node answers at once, without
// a handler, and returns how long that took: the round-trip time of the link, and
// what its buffers hold. Within the library it goes ahead of all calls, so it does not
// tell what a call waits for, nor whether the service of the other node is well; a
// handler does.
//
// It never waits for a connection. It ends with ctx, or fails with
// [ErrDisconnected] when the connection ends, which the library's own keep-alive
// sees to if the other node falls silent.
func (c *Connection) Ping(ctx context.Context) (time.Duration, error) {
	d, err := c.ping(ctx)
	if err != nil {
		return 0, fmt.Errorf("gridmux: ping %q: %w", c.Peer(), err)
	}
	return d, nil
}

func (c *Connection) ping(ctx context.Context) (time.Duration, error) {
	switch {
	case ctx == nil:
		return 0, errNilContext
	case ctx.Err() != nil:
		_, err := contextEnd(ctx)
		return 0, err
	case c == nil || !c.m.made():
		return 0, c.whyDown()
	}
	c, s, _ := c.pick(ctx, callSettings{}, 0)
	if s == nil {
		return 0, c.whyDown()
	}
	began, p := s.m.now(), s.ping()
	defer s.forgetPing(p.value)
	select {
	case <-p.answered:
		return time.Duration(s.m.now() - began), nil
	case <-s.done:
		return 0, s.lost
	case <-ctx.Done():
		_, err := contextEnd(ctx)
		return 0, err
	}
}
