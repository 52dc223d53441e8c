package faulty_test

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
)

// TestStallHoldsTheClose expects a close to wait behind a stall, the owner not
// to, and the peer to learn of it after the heal; without a heal, after a
// minute.
func TestStallHoldsTheClose(t *testing.T) {
	for _, heal := range []bool{true, false} {
		inBubble(t, func(b *lab) {
			near, far := b.connect()
			readingNear := startRead(near)
			b.Stall(faulty.Out)
			b.write(near, "last words")
			if err := near.CloseWithError(7, "bye"); err != nil {
				b.Error(err)
			}
			if r := b.ended(readingNear, "the read"); !errors.Is(r.err, net.ErrClosed) {
				b.Errorf("the owner's read gave %v", r)
			}
			b.at(0, "the end for the owner")
			reading := startRead(far)
			b.until(59 * time.Second)
			b.pending(reading, "the peer's read")
			if heal {
				b.Heal()
				if r := b.ended(reading, "the read"); r.frame != "last words" {
					b.Errorf("after the stall the read gave %v", r)
				}
				reading = startRead(far)
			}
			ce, ok := errors.AsType[*transport.CloseError](b.ended(reading, "the read").err)
			if !ok || ce.Code != 7 || ce.Reason != "bye" {
				b.Errorf("the close arrived as %v", ce)
			}
			if !heal {
				b.at(time.Minute, "the close")
			}
		})
	}
}

// TestCloseEndsEverything expects CloseWithError to end, at once, a write that
// waits for the link below, a read and a wait for lanes, although the close
// itself is late or held.
func TestCloseEndsEverything(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		writing := startWrite(near, string(make([]byte, 100<<10)), "more")
		b.pending(writing, "a write that the peer does not read")
		b.SetConditions(faulty.Conditions{Latency: time.Hour})
		_ = near.CloseWithError(0, "")
		if r := b.ended(writing, "the write"); !errors.Is(r.err, net.ErrClosed) {
			b.Errorf("the write gave %v", r)
		}
		b.at(0, "the end of the write")
		_ = far.CloseWithError(0, "")
	})
	inBubble(t, func(b *lab) {
		near, _ := b.connect()
		b.Stall(faulty.Out)
		b.write(near, "is held")
		reading := startRead(near)
		accepting := start(func() (string, error) {
			_, err := near.(transport.LaneConn).AcceptLane(b.Context())
			return "", err
		})
		synctest.Wait()
		_ = near.CloseWithError(0, "")
		for what, c := range map[string]chan result{"the read": reading, "AcceptLane": accepting} {
			if r := b.ended(c, what); !errors.Is(r.err, net.ErrClosed) {
				b.Errorf("%s gave %v", what, r)
			}
		}
		b.at(0, "the end")
	})
}

// TestBorrowedFrameOutlivesReadAhead expects a frame that was read before the
// direction was disturbed to stay as it is when more is read ahead.
func TestBorrowedFrameOutlivesReadAhead(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.write(far, "first")
		frame, err := near.ReadFrame(100)
		if err != nil {
			b.Fatal(err)
		}
		b.SetDirectionConditions(faulty.In, faulty.Conditions{Latency: ms})
		for range 20 {
			b.write(far, "other")
			synctest.Wait()
		}
		if string(frame) != "first" {
			b.Errorf("the frame has become %q", frame)
		}
		b.read(near, "other")
	})
}
