package transporttest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/transport"
)

// onReadError replaces the errors of ReadFrame.
func onReadError(f func(error) error) func() Fixture {
	return broken(func(c *conn) {
		read := c.read
		c.read = func(limit int) ([]byte, error) {
			b, err := read(limit)
			if err != nil {
				return nil, f(err)
			}
			return b, nil
		}
	})
}

// onWriteError replaces the errors of WriteFrames.
func onWriteError(f func(error) error) func() Fixture {
	return broken(func(c *conn) {
		write := c.write
		c.write = func(frames [][]byte) error {
			if err := write(frames); err != nil {
				return f(err)
			}
			return nil
		}
	})
}

// neverIf blocks on some errors.
func neverIf(some func(error) bool) func(error) error {
	return func(err error) error {
		if some(err) {
			never()
		}
		return err
	}
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

func isPeerClose(err error) bool {
	_, ok := errors.AsType[*transport.CloseError](err)
	return ok
}

// onEnd replaces CloseWithError.
func onEnd(f func(c *conn, code uint32, reason string) error) func() Fixture {
	return broken(func(c *conn) {
		end := c.end
		inner := *c
		inner.end = end
		c.end = func(code uint32, reason string) error { return f(&inner, code, reason) }
	})
}

var closeDefects = []defect{
	{"does not unblock ReadFrame", "CloseUnblocksRead", "unblocks ReadFrame", onReadError(neverIf(isClosed))},
	{"leaks a goroutine with every close", "CloseUnblocksRead", "frees all resources", onEnd(func(c *conn, code uint32, reason string) error {
		go never()
		return c.end(code, reason)
	})},
	{"does not unblock WriteFrames", "CloseUnblocksWrite", "unblocks WriteFrames", onWriteError(neverIf(isClosed))},
	{"does not notice the peer's close", "PeerCloseUnblocksRead", "nothing happened", onReadError(neverIf(isPeerClose))},
	{"returns a bare io.EOF", "PeerCloseUnblocksRead", "never returned bare", onReadError(func(error) error { return io.EOF })},
	{"takes the peer's close for its own", "PeerCloseUnblocksRead", "only CloseWithError on the same side", onReadError(func(err error) error {
		return fmt.Errorf("%w %w", err, net.ErrClosed)
	})},
	{"writes on after the peer's close", "PeerCloseUnblocksWrite", "on the other side", onWriteError(neverIf(isPeerClose))},
	{"has its own error for a closed connection", "ErrorsAfterClose", "net.ErrClosed", onWriteError(func(error) error { return errBroken })},
	{"delivers frames after its own close", "ErrorsAfterClose", "net.ErrClosed", onReadError(func(err error) error {
		if isClosed(err) {
			return nil
		}
		return err
	})},
	{"swallows errors of writing", "ErrorsAfterPeerClose", "WriteFrames fails some time after", onWriteError(func(err error) error {
		if isPeerClose(err) {
			return nil
		}
		return err
	})},
	{"holds back a frame", "CloseDeliversFramesFirst", "delivered before", broken(func(c *conn) {
		write := c.write
		var held []byte
		c.write = func(frames [][]byte) error {
			if held != nil {
				if err := write([][]byte{held}); err != nil {
					return err
				}
			}
			last := len(frames) - 1
			held = append([]byte{}, frames[last]...)
			return write(frames[:last])
		}
	})},
	{"has eight bits for the code", "CloseCodes", "gets the code", onEnd(func(c *conn, code uint32, reason string) error {
		return c.end(code&0xff, reason)
	})},
	{"cuts a reason too early", "CloseReasons", "cut as CutReason does", onEnd(func(c *conn, code uint32, reason string) error {
		return c.end(code, reason[:min(len(reason), 100)])
	})},
	{"sends no reason with code 0", "CloseReasons", "gets the reason", onEnd(func(c *conn, code uint32, reason string) error {
		if code == 0 {
			reason = ""
		}
		return c.end(code, reason)
	})},
	{"lets the last close count", "FirstCloseCounts", "first CloseWithError counts", func() Fixture {
		return broken(func(c *conn) {
			end := c.end
			var code atomic.Uint32
			var reason atomic.Value
			c.end = func(co uint32, re string) error {
				code.Store(co)
				reason.Store(re)
				time.AfterFunc(time.Millisecond, func() { _ = end(code.Load(), reason.Load().(string)) })
				return nil
			}
		})()
	}},
	{"fails the second close", "ConcurrentCloses", "returns nil", broken(func(c *conn) {
		end := c.end
		var closed atomic.Bool
		c.end = func(code uint32, reason string) error {
			if closed.Swap(true) {
				return net.ErrClosed
			}
			return end(code, reason)
		}
	})},
	{"mixes codes and reasons", "ConcurrentCloses", "one of them counts", func() Fixture {
		return broken(func(c *conn) {
			end := c.end
			c.end = func(code uint32, reason string) error { return end(code, "number x") }
		})()
	}},
	{"waits for the peer", "CloseIsQuick", "within a second", onEnd(func(c *conn, code uint32, reason string) error {
		time.Sleep(1100 * time.Millisecond)
		return c.end(code, reason)
	})},
	{"changes the error of a second read", "BothClose", "both ends may close", onReadError(func(error) error { return errBroken })},
	{"reports a failed link as closed by the peer", "AbruptEnd", "nobody closed", onReadError(func(err error) error {
		if isClosed(err) {
			return err
		}
		return &transport.CloseError{Code: 1006}
	})},
	{"returns the part of a frame that has arrived", "AbruptEnd", "without a part of it", broken(func(c *conn) {
		read := c.read
		frames := 0
		c.read = func(limit int) ([]byte, error) {
			f, err := read(limit)
			if frames++; err != nil && frames == 2 {
				return []byte("part"), nil
			}
			return f, err
		}
	})},
	{"reports a failed link as its own close", "AbruptEnd", "only CloseWithError on the same side", onWriteError(func(error) error {
		return net.ErrClosed
	})},
}
