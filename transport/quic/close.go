package quic

import (
	"context"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
)

const (
	// lingerTime bounds how long the peer has for reading what was written before
	// CloseWithError. Then the connection is cut off.
	lingerTime = 3 * time.Second
	// leaveTime is how much of it a node waits that has no listener, since its
	// process may be about to end.
	leaveTime = 20 * time.Millisecond
	// portTime is how much of it a node waits that has closed its listener. Its port
	// is free then, unless its peers are far away or gone, and whoever listens there
	// next does not try again.
	portTime = 100 * time.Millisecond
)

// CloseWithError ends the connection. The end is a record behind the frames, so
// that they arrive first: QUIC's own close would overtake them. The peer, when it
// has read that far, closes the QUIC connection. Until then, or for three
// seconds, quic-go keeps it in the background. A node without a listener is
// probably about to leave, and the process with it; there CloseWithError waits
// for the peer, but for no more than 20 ms, or 100 ms where there was a listener,
// whose port is to be free.
//
// If a WriteFrames is stuck, or the peer has closed as well, QUIC's own close
// says code and reason.
func (c *conn) CloseWithError(code uint32, reason string) error {
	if !c.end() {
		return nil
	}
	c.expire()
	c.socket.t.linger(c)
	if v := c.violated.Load(); v != nil {
		code, reason = v.code, v.text
	}
	c.endLanes(code)
	gone := c.peerIsGone()
	c.stream.CancelRead(quicgo.StreamErrorCode(code))
	if gone || !c.lockForClose() || c.out.err != nil {
		return c.hangUp(code, reason)
	}
	go c.linger(code, reason)
	if d := c.socket.t.patience(); d > 0 {
		over, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		c.waitUntilGone(over)
	}
	return nil
}

// linger says goodbye and waits for the peer to hang up. It holds the write lock,
// for good.
func (c *conn) linger(code uint32, reason string) {
	stop := time.AfterFunc(lingerTime, func() { _ = c.hangUpNow(code, reason) })
	defer stop.Stop()
	if _, err := c.stream.Write(closeRecord(code, reason)); err == nil {
		// Done when the peer stops reading, since it has closed too, and when it
		// hangs up.
		<-c.stream.Context().Done()
	}
	_ = c.hangUp(code, reason)
}

// hangUp closes the QUIC connection and gives the socket back. It is called once.
func (c *conn) hangUp(code uint32, reason string) error {
	_ = c.hangUpNow(code, reason)
	err := c.socket.release()
	c.socket.t.forget(c)
	close(c.gone)
	return err
}

func (c *conn) hangUpNow(code uint32, reason string) error {
	return c.qc.CloseWithError(quicgo.ApplicationErrorCode(code), transport.CutReason(reason))
}

// waitUntilGone waits for nothing to be left of the connection, or for the end of ctx.
func (c *conn) waitUntilGone(ctx context.Context) {
	select {
	case <-c.gone:
	case <-ctx.Done():
	}
}
