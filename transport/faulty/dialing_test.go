package faulty_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
)

// TestRefuseDials expects dials of the node to fail, and what is connected to be
// well.
func TestRefuseDials(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.RefuseDials()
		_, err := b.Dial(b.Context(), transport.Peer{Name: "peer", Addr: "peer"})
		if err == nil || err.Error() != "faulty to peer (peer): dial: connection refused" {
			b.Errorf("a dial that is refused gave error %v", err)
		}
		b.write(near, "connected")
		b.read(far, "connected")
		b.AllowDials()
		b.connect()
	})
}

// TestAcceptDelay expects Accept to return so much later, to lose no connection
// when its context ends meanwhile, and Close of the listener to end one that
// waits.
func TestAcceptDelay(t *testing.T) {
	inBubble(t, func(b *lab) {
		l, err := b.Listen(b.Context(), "node")
		if err != nil {
			b.Fatal(err)
		}
		b.SetAcceptDelay(30 * ms)
		var dialled []transport.Conn
		for i := range 3 {
			c, err := b.peer.Dial(b.Context(), transport.Peer{Addr: "node"})
			if err != nil {
				b.Fatal(err)
			}
			b.write(c, fmt.Sprint(i))
			dialled = append(dialled, c)
		}
		ctx, cancel := context.WithTimeout(b.Context(), 10*ms)
		defer cancel()
		if _, err := l.Accept(ctx); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("Accept with a short context gave error %v", err)
		}
		for i, at := range []time.Duration{30 * ms, 60 * ms} {
			c, err := l.Accept(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			b.at(at, "an accept")
			b.read(c, fmt.Sprint(i))
			_ = c.CloseWithError(0, "")
		}
		accepting := start(func() (string, error) {
			_, err := l.Accept(b.Context())
			return "", err
		})
		synctest.Wait()
		if err := l.Close(); err != nil {
			b.Error(err)
		}
		if r := b.ended(accepting, "Accept"); !errors.Is(r.err, net.ErrClosed) {
			b.Errorf("Accept of a closed listener gave %v", r.err)
		}
		_, err = dialled[2].ReadFrame(1)
		if _, ok := errors.AsType[*transport.CloseError](err); !ok {
			b.Errorf("the connection that was not accepted ended with %v", err)
		}
		b.at(60*ms, "its end")
	})
}

// TestLanesShareTheFate expects a stall and a cut of a connection to be those of
// its lanes too.
func TestLanesShareTheFate(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		lane, err := near.(transport.LaneConn).OpenLane(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.StallAfter(faulty.Out, 4)
		b.write(lane, "lane")
		farLane, err := far.(transport.LaneConn).AcceptLane(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.read(farLane, "lane")
		b.write(near, "held")
		b.write(lane, "held")
		reading, readingLane := startRead(far), startRead(farLane)
		b.until(time.Minute)
		b.pending(reading, "a read of the connection")
		b.pending(readingLane, "a read of the lane")
		b.Heal()
		b.ended(reading, "a read of the connection")
		b.ended(readingLane, "a read of the lane")
		accepting := start(func() (string, error) {
			_, err := near.(transport.LaneConn).AcceptLane(b.Context())
			return "", err
		})
		synctest.Wait()
		b.Cut()
		for what, err := range map[string]error{
			"a read": b.ended(startRead(near), "a read").err, "a read of a lane": b.ended(startRead(lane), "a read").err,
			"AcceptLane": b.ended(accepting, "AcceptLane").err,
		} {
			if !isReset(err) {
				b.Errorf("%s after a cut gave error %v", what, err)
			}
		}
	})
}
