package transporttest

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/gridmux/gridmux/transport"
)

func testFrameOrder(e *env) {
	const frames = 3000
	rule := "frames arrive in the order in which they were written, each once"
	size := func(n int) int { return n * 37 % 301 }
	e.eachWay(func(near, far transport.Conn) {
		written := start(func() error {
			for n := 0; n < frames; {
				var batch [][]byte
				for range min(1+n%17, frames-n) {
					batch = append(batch, pattern(n, size(n)))
					n++
				}
				if err := write(near, batch...); err != nil {
					return err
				}
			}
			return nil
		})
		e.check(rule, wait(e, start(func() error {
			for n := range frames {
				if err := read(far, pattern(n, size(n))); err != nil {
					return fmt.Errorf("frame %d: %w", n, err)
				}
			}
			return nil
		}), rule))
		e.check(rule, wait(e, written, rule))
	})
}

// testFrameSizes reads every frame with a limit of its very length.
func testFrameSizes(e *env) {
	rule := "a frame of any length up to MaxFrame arrives whole, also when it is as long as the limit"
	e.eachWay(func(near, far transport.Conn) {
		largest := min(near.Info().MaxFrame, largestFrame)
		var sizes []int
		for _, size := range []int{
			0, 1, 2, 7, 8, 124, 125, 126, 127, 128, 129, 255, 256, 1000, 4095, 4096, 4097,
			16383, 16384, 32767, 32768, 65534, 65535, 65536, 65537, 65536 + 14, 100_000,
			262143, 262144, 0, largest - 1, largest, 0, 1,
		} {
			if size <= largest {
				sizes = append(sizes, size)
			}
		}
		written := start(func() error {
			for n, size := range sizes {
				if err := write(near, pattern(n, size)); err != nil {
					return fmt.Errorf("writing a frame of %d bytes: %w", size, err)
				}
			}
			return nil
		})
		e.check(rule, wait(e, start(func() error {
			for n, size := range sizes {
				got, err := far.ReadFrame(max(size, 1))
				if err != nil {
					return fmt.Errorf("reading a frame of %d bytes: %w", size, err)
				}
				if err := compare(got, pattern(n, size)); err != nil {
					return err
				}
			}
			return nil
		}), rule))
		e.check(rule, wait(e, written, rule))
	})
}

func testBatch(e *env) {
	const frames = 5000
	rule := "WriteFrames keeps the boundaries of the frames of a batch, empty ones too"
	size := func(n int) int { return [...]int{0, 1, 100, 0, 0, 125, 126, 700, 0, 9}[n%10] }
	e.eachWay(func(near, far transport.Conn) {
		written := start(func() error {
			batch := make([][]byte, frames)
			for n := range batch {
				batch[n] = pattern(n, size(n))
			}
			return write(near, batch...)
		})
		e.check(rule, wait(e, start(func() error {
			for n := range frames {
				if err := read(far, pattern(n, size(n))); err != nil {
					return fmt.Errorf("frame %d of the batch: %w", n, err)
				}
			}
			return nil
		}), rule))
		e.check(rule, wait(e, written, rule))
	})
}

func testWriteTooLarge(e *env) {
	e.eachWay(func(near, far transport.Conn) {
		size := near.Info().MaxFrame
		if size > largestRefused {
			// No slice of that size is made for a test. Nothing is lost: such a
			// link is limited by the limit of the reader.
			return
		}
		small := pattern(1, 100)
		large := make([]byte, near.Info().Headroom+size+1)
		for at := range 3 {
			batch := [][]byte{outgoing(near, small), outgoing(near, small), outgoing(near, small)}
			batch[at] = large
			rule := "WriteFrames with a frame over MaxFrame returns at once"
			err := wait(e, start(func() error { return near.WriteFrames(batch) }), rule)
			if !errors.Is(err, transport.ErrFrameTooLarge) {
				e.Fatalf("WriteFrames with a frame over MaxFrame fails with an error matching ErrFrameTooLarge: got %v", err)
			}
		}
		rule := "WriteFrames with a frame over MaxFrame sends nothing of the batch and leaves the connection usable"
		want := pattern(2, 200)
		written := start(func() error { return write(near, want) })
		e.check(rule, wait(e, start(func() error { return read(far, want) }), rule))
		e.check(rule, wait(e, written, rule))
		e.exchange(rule, near, far)
	})
}

func testReadLimit(e *env) {
	l := e.listener()
	for _, c := range []struct{ limit, size int }{
		{1, 2}, {100, 101}, {125, 126}, {126, 127}, {1000, 1001}, {65535, 65536}, {1, 65536}, {4096, 65536},
	} {
		near, far := e.connect(l)
		written := start(func() error {
			return write(near, pattern(0, c.limit), pattern(1, 0), pattern(2, c.size), pattern(3, 1))
		})
		type result struct{ within, empty, over, after error }
		r := wait(e, start(func() (r result) {
			var got []byte
			if got, r.within = far.ReadFrame(c.limit); r.within == nil {
				r.within = compare(got, pattern(0, c.limit))
			}
			_, r.empty = far.ReadFrame(c.limit)
			_, r.over = far.ReadFrame(c.limit)
			_, r.after = far.ReadFrame(maxLimit)
			return r
		}), "ReadFrame returns when the frame is longer than the limit")
		e.check("a frame as long as the limit passes", r.within)
		e.check("an empty frame passes every limit", r.empty)
		if !errors.Is(r.over, transport.ErrFrameTooLarge) {
			e.Errorf("ReadFrame(%d) of a frame of %d bytes fails with an error matching ErrFrameTooLarge: got %v",
				c.limit, c.size, r.over)
		}
		if r.after == nil {
			e.Errorf("after its first error every ReadFrame fails: one after ErrFrameTooLarge did not")
		}
		e.close(far, transport.CodeTooLarge, "")
		e.close(near, 0, "")
		wait(e, written, "WriteFrames returns when both ends have closed")
	}
}

// testReadLimitBeforeAllocation compares what a frame costs that nobody reads
// with what it costs when ReadFrame refuses it. The writing end is part of
// both.
func testReadLimitBeforeAllocation(e *env) {
	l := e.listener()
	near, far := e.connect(l)
	size := min(near.Info().MaxFrame, 4*largestFrame)
	frame := make([]byte, near.Info().Headroom+size)

	unread := e.allocated(near, far, frame, func() {})
	near, far = e.connect(l)
	refused := e.allocated(near, far, frame, func() {
		rule := "ReadFrame fails with ErrFrameTooLarge as soon as the length of the frame is known"
		_, err := far.ReadFrame(1)
		if !errors.Is(err, transport.ErrFrameTooLarge) {
			e.Errorf("%s: got %v", rule, err)
		}
	})
	if refused > unread+uint64(size)/2 {
		e.Errorf("ReadFrame allocates nothing for a frame over the limit: "+
			"one of %d bytes cost %d bytes more than when nobody read it", size, refused-unread)
	}
}

// allocated is what the process allocates while near writes frame and reading
// runs, until both ends are closed.
func (e *env) allocated(near, far transport.Conn, frame []byte, reading func()) uint64 {
	e.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	written := start(func() error { return near.WriteFrames([][]byte{frame}) })
	e.settle()
	wait(e, start(func() bool { reading(); return true }), "ReadFrame returns when a frame begins")
	e.close(far, 0, "")
	e.close(near, 0, "")
	wait(e, written, "WriteFrames returns when both ends have closed")
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
