package transporttest

import (
	"fmt"

	"github.com/gridmux/gridmux/transport"
)

func testBorrowedFrameIsWritable(e *env) {
	rule := "the reader may write to the frame it has borrowed without changing those that follow"
	sizes := []int{10, 0, 1, 130, 4000, 7, 70000, 3, 60000, 100}
	const rounds = 20
	e.eachWay(func(near, far transport.Conn) {
		written := start(func() error {
			for n := range rounds {
				batch := make([][]byte, len(sizes))
				for i, size := range sizes {
					batch[i] = pattern(n+i, min(size, near.Info().MaxFrame))
				}
				if err := write(near, batch...); err != nil {
					return err
				}
			}
			return nil
		})
		e.check(rule, wait(e, start(func() error {
			for n := range rounds {
				for i, size := range sizes {
					got, err := far.ReadFrame(maxLimit)
					if err != nil {
						return err
					}
					if err := compare(got, pattern(n+i, min(size, near.Info().MaxFrame))); err != nil {
						return err
					}
					scribble(got)
				}
			}
			return nil
		}), rule))
		e.check(rule, wait(e, written, rule))
	})
}

// testBorrowedFrameIsStable keeps every frame for a while in which the peer
// sends more and the connection is used in the other direction.
func testBorrowedFrameIsStable(e *env) {
	const frames = 200
	rule := "a borrowed frame stays as it is until the next ReadFrame, whatever arrives meanwhile"
	size := func(n int) int { return [...]int{900, 5, 20000, 0, 126, 40000, 1}[n%7] }
	e.eachWay(func(near, far transport.Conn) {
		written := start(func() error {
			for n := range frames {
				if err := write(near, pattern(n, size(n))); err != nil {
					return err
				}
			}
			return nil
		})
		answered := start(func() error {
			for n := range frames {
				if err := read(near, pattern(n, 50)); err != nil {
					return fmt.Errorf("the answer to frame %d: %w", n, err)
				}
			}
			return nil
		})
		e.check(rule, wait(e, start(func() error {
			for n := range frames {
				got, err := far.ReadFrame(maxLimit)
				if err != nil {
					return err
				}
				if err := compare(got, pattern(n, size(n))); err != nil {
					return err
				}
				if err := write(far, pattern(n, 50)); err != nil {
					return err
				}
				far.Info()
				if err := compare(got, pattern(n, size(n))); err != nil {
					return fmt.Errorf("after a write: %w", err)
				}
			}
			return nil
		}), rule))
		e.check(rule, wait(e, answered, rule))
		e.check(rule, wait(e, written, rule))

		// Now with more already sent when the first is read.
		written = start(func() error {
			for n := range 10 {
				if err := write(near, pattern(n, 1000)); err != nil {
					return err
				}
			}
			return nil
		})
		e.settle()
		var first []byte
		e.check(rule, wait(e, start(func() (err error) { first, err = far.ReadFrame(maxLimit); return err }), rule))
		answer := pattern(9, 2000)
		answering := start(func() error { return write(far, answer) })
		e.check(rule, wait(e, start(func() error { return read(near, answer) }), rule))
		e.check(rule, wait(e, answering, rule))
		e.settle()
		e.check(rule, compare(first, pattern(0, 1000)))
		e.check(rule, wait(e, start(func() error {
			for n := range 9 {
				if err := read(far, pattern(n+1, 1000)); err != nil {
					return err
				}
			}
			return nil
		}), rule))
		e.check(rule, wait(e, written, rule))
	})
}

// testWrittenFramesAreNotKept overwrites what it has written at once. Which
// bytes the receiver sees then tells whether the transport still needed it.
func testWrittenFramesAreNotKept(e *env) {
	const rounds = 100
	rule := "WriteFrames does not keep the frames and the outer slice: they may be overwritten when it has returned"
	sizes := []int{10, 200, 0, 1000, 20000, 126}
	e.eachWay(func(near, far transport.Conn) {
		for n := range rounds {
			written := start(func() error {
				batch := make([][]byte, len(sizes))
				for i, size := range sizes {
					batch[i] = outgoing(near, pattern(n+i, size))
				}
				frames := append([][]byte(nil), batch...)
				err := near.WriteFrames(batch)
				for _, f := range frames {
					scribble(f)
				}
				other := make([]byte, near.Info().Headroom+3)
				for i := range batch {
					batch[i] = other
				}
				return err
			})
			e.settle()
			e.check(rule, wait(e, start(func() error {
				for i, size := range sizes {
					if err := read(far, pattern(n+i, size)); err != nil {
						return err
					}
				}
				return nil
			}), rule))
			e.check(rule, wait(e, written, rule))
		}
	})
}
