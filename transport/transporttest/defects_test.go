package transporttest

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"sync"

	"github.com/gridmux/gridmux/transport"
)

var errBroken = errors.New("broken")

// never is what a call waits for that does not return.
func never() { <-make(chan struct{}) }

var defects = slices.Concat(frameDefects, bufferDefects, closeDefects, dialDefects, listenDefects, laneDefects)

var frameDefects = []defect{
	{"drops a frame", "FrameOrder", "each once", broken(func(c *conn) {
		n, write := 0, c.write
		c.write = func(frames [][]byte) error {
			if n++; n == 100 {
				frames = frames[1:]
			}
			return write(frames)
		}
	})},
	{"reverses a batch", "FrameOrder", "in the order", broken(func(c *conn) {
		write := c.write
		c.write = func(frames [][]byte) error {
			slices.Reverse(frames)
			return write(frames)
		}
	})},
	{"leaves a goroutine behind", "FrameOrder", "frees all resources", broken(func(*conn) {
		go never()
	})},
	{"cuts lengths to sixteen bits", "FrameSizes", "arrives whole", broken(func(c *conn) {
		write := c.write
		c.write = func(frames [][]byte) error {
			for i, f := range frames {
				frames[i] = f[:len(f)&0xffff]
			}
			return write(frames)
		}
	})},
	{"refuses a frame as long as the limit", "FrameSizes", "as long as the limit", broken(func(c *conn) {
		read := c.read
		c.read = func(limit int) ([]byte, error) {
			f, err := read(limit)
			if err == nil && len(f) == limit {
				err = transport.FrameTooLargeError(uint64(limit), limit)
			}
			return f, err
		}
	})},
	{"merges a batch", "Batch", "keeps the boundaries", broken(func(c *conn) {
		write := c.write
		c.write = func(frames [][]byte) error { return write([][]byte{slices.Concat(frames...)}) }
	})},
	{"repeats a frame", "FrameOrder", "each once", broken(func(c *conn) {
		n, write := 0, c.write
		c.write = func(frames [][]byte) error {
			if n++; n == 100 {
				frames = append([][]byte{bytes.Clone(frames[0])}, frames...)
			}
			return write(frames)
		}
	})},
	{"reorders batches", "FrameOrder", "in the order", broken(func(c *conn) {
		// As two queues do of which the one for short frames goes first.
		write := c.write
		var held [][]byte
		c.write = func(frames [][]byte) error {
			if held == nil {
				for _, f := range frames {
					held = append(held, bytes.Clone(f))
				}
				return nil
			}
			first := held
			held = nil
			if err := write(frames); err != nil {
				return err
			}
			return write(first)
		}
	})},
	{"splits long frames", "FrameSizes", "arrives whole", broken(func(c *conn) {
		write := c.write
		c.write = func(frames [][]byte) error {
			var parts [][]byte
			for _, f := range frames {
				for len(f) > 32<<10 {
					parts = append(parts, f[:32<<10])
					f = f[32<<10:]
				}
				parts = append(parts, f)
			}
			return write(parts)
		}
	})},
	{"splits a frame of a batch", "Batch", "keeps the boundaries", broken(func(c *conn) {
		write := c.write
		c.write = func(frames [][]byte) error {
			if last := len(frames) - 1; last > 0 && len(frames[last]) > 1 {
				f := frames[last]
				frames = append(slices.Clone(frames[:last]), f[:1], f[1:])
			}
			return write(frames)
		}
	})},
	{"skips empty frames", "Batch", "empty ones too", broken(func(c *conn) {
		write := c.write
		c.write = func(frames [][]byte) error {
			return write(slices.DeleteFunc(frames, func(f []byte) bool { return len(f) == 0 }))
		}
	})},
	{"sends half of a batch with a large frame", "WriteTooLarge", "sends nothing", broken(func(c *conn) {
		write := c.write
		c.write = func(frames [][]byte) error {
			for i := range frames {
				if err := write(frames[i : i+1]); err != nil {
					return err
				}
			}
			return nil
		}
	})},
	{"fails for good after a large frame", "WriteTooLarge", "leaves the connection usable", broken(func(c *conn) {
		write := c.write
		var failed error
		c.write = func(frames [][]byte) error {
			if failed == nil {
				failed = write(frames)
			}
			return failed
		}
	})},
	{"ignores the limit", "ReadLimit", "matching ErrFrameTooLarge", broken(func(c *conn) {
		read := c.read
		c.read = func(int) ([]byte, error) { return read(math.MaxInt) }
	})},
	{"reads on after a large frame", "ReadLimit", "every ReadFrame fails", broken(func(c *conn) {
		read := c.read
		c.read = func(limit int) ([]byte, error) {
			f, err := read(math.MaxInt)
			if err == nil && len(f) > limit {
				err = transport.FrameTooLargeError(uint64(len(f)), limit)
			}
			return f, err
		}
	})},
	{"allocates before it looks at the limit", "ReadLimitBeforeAllocation", "allocates nothing", broken(func(c *conn) {
		read := c.read
		c.read = func(limit int) ([]byte, error) {
			f, err := read(math.MaxInt)
			if f = bytes.Clone(f); len(f) > limit {
				err = transport.FrameTooLargeError(uint64(len(f)), limit)
			}
			return f, err
		}
	})},
}

var bufferDefects = []defect{
	{"expects the frame before as it was", "BorrowedFrameIsWritable", "may write to the frame", broken(func(c *conn) {
		// A dictionary that the sender has too, say.
		read := c.read
		var last []byte
		c.read = func(limit int) ([]byte, error) {
			spoilt := len(last) > 0 && bytes.Equal(last, scribbles[:len(last)])
			f, err := read(limit)
			if last = bytes.Clone(f); len(last) > 0 && spoilt {
				last[0]++
			}
			return last, err
		}
	})},
	{"uses one buffer both ways", "BorrowedFrameIsStable", "stays as it is", broken(func(c *conn) {
		read, write := c.read, c.write
		buf := make([]byte, 1<<20)
		c.read = func(limit int) ([]byte, error) {
			f, err := read(limit)
			return buf[:copy(buf, f)], err
		}
		c.write = func(frames [][]byte) error {
			for _, f := range frames {
				copy(buf, f)
			}
			return write(frames)
		}
	})},
	{"reads ahead into the borrowed frame", "BorrowedFrameIsStable", "stays as it is", broken(func(c *conn) {
		read := c.read
		var buf [1 << 20]byte
		c.read = func(limit int) ([]byte, error) {
			f, err := read(limit)
			lent := buf[:copy(buf[:], f)]
			if len(lent) > 900 {
				go func() { clear(lent) }()
			}
			return lent, err
		}
	})},
	{"writes after WriteFrames has returned", "WrittenFramesAreNotKept", "may be overwritten", broken(func(c *conn) {
		write, end := c.write, c.end
		queue, done := make(chan [][]byte, 1000), make(chan struct{})
		stop := sync.OnceFunc(func() { close(done) })
		go func() {
			for {
				select {
				case frames := <-queue:
					_ = write(frames)
				case <-done:
					return
				}
			}
		}()
		c.write = func(frames [][]byte) error { queue <- slices.Clone(frames); return nil }
		c.end = func(code uint32, reason string) error { stop(); return end(code, reason) }
	})},
	{"reads and writes in turn", "FullDuplex", "does not hold up the other", broken(func(c *conn) {
		read, write := c.read, c.write
		turn, done := make(chan struct{}, 1), make(chan struct{})
		begin := func() error {
			select {
			case turn <- struct{}{}:
				return nil
			case <-done:
				return net.ErrClosed
			}
		}
		c.read = func(limit int) ([]byte, error) {
			if err := begin(); err != nil {
				return nil, err
			}
			defer func() { <-turn }()
			return read(limit)
		}
		c.write = func(frames [][]byte) error {
			if err := begin(); err != nil {
				return err
			}
			defer func() { <-turn }()
			return write(frames)
		}
		end, stop := c.end, sync.OnceFunc(func() { close(done) })
		c.end = func(code uint32, reason string) error { stop(); return end(code, reason) }
	})},
	{"reads on only when it has written", "VolumeBothWays", "both ends can write a lot", broken(func(c *conn) {
		// As a reader does that puts answers into a queue of one, and waits.
		read, write, end := c.read, c.write, c.end
		queue, done := make(chan struct{}, 1), make(chan struct{})
		c.read = func(limit int) ([]byte, error) {
			select {
			case queue <- struct{}{}:
				return read(limit)
			case <-done:
				return nil, net.ErrClosed
			}
		}
		c.write = func(frames [][]byte) error {
			err := write(frames)
			select {
			case <-queue:
			default:
			}
			return err
		}
		stop := sync.OnceFunc(func() { close(done) })
		c.end = func(code uint32, reason string) error { stop(); return end(code, reason) }
	})},
	{"lets one connection write at a time", "ConnectionsAreIndependent", "another connection", func() Fixture {
		turn := make(chan struct{}, 1)
		return broken(func(c *conn) {
			write, end, done := c.write, c.end, make(chan struct{})
			c.write = func(frames [][]byte) error {
				select {
				case turn <- struct{}{}:
				case <-done:
					return net.ErrClosed
				}
				defer func() { <-turn }()
				return write(frames)
			}
			stop := sync.OnceFunc(func() { close(done) })
			c.end = func(code uint32, reason string) error { stop(); return end(code, reason) }
		})()
	}},
}

var laneDefects = []defect{
	{"takes the connection for a lane", "LaneFrames", "limit", broken(func(c *conn) {
		c.open = func(context.Context) (transport.Conn, error) { return c.LaneConn, nil }
		c.accept = c.open
	})},
	{"accepts the newest lane first", "LaneOrder", "in the order of opening", broken(func(c *conn) {
		accept := c.accept
		var lanes []transport.Conn
		c.accept = func(ctx context.Context) (transport.Conn, error) {
			for len(lanes) < 3 {
				l, err := accept(ctx)
				if err != nil {
					return nil, err
				}
				lanes = append(lanes, l)
			}
			l := lanes[len(lanes)-1]
			lanes = lanes[:len(lanes)-1]
			return l, nil
		}
	})},
	{"stalls all lanes with one", "LaneStall", "holds up no other", broken(func(c *conn) {
		open, turn := c.open, make(chan struct{}, 1)
		c.open = func(ctx context.Context) (transport.Conn, error) {
			l, err := open(ctx)
			if err != nil {
				return nil, err
			}
			done := make(chan struct{})
			stop := sync.OnceFunc(func() { close(done) })
			return &conn{
				read: l.ReadFrame, info: l.Info,
				write: func(frames [][]byte) error {
					select {
					case turn <- struct{}{}:
					case <-done:
						return net.ErrClosed
					}
					defer func() { <-turn }()
					return l.WriteFrames(frames)
				},
				end: func(code uint32, reason string) error { stop(); return l.CloseWithError(code, reason) },
			}, nil
		}
	})},
	{"closes the connection with a lane", "LaneClose", "that lane alone", broken(func(c *conn) {
		open := c.open
		c.open = func(ctx context.Context) (transport.Conn, error) {
			l, err := open(ctx)
			if err != nil {
				return nil, err
			}
			return &conn{
				read: l.ReadFrame, info: l.Info, write: l.WriteFrames,
				end: func(code uint32, reason string) error {
					return errors.Join(l.CloseWithError(code, reason), c.CloseWithError(code, reason))
				},
			}, nil
		}
	})},
	{"opens lanes after the end", "LanesEndWithConnection", "OpenLane and AcceptLane fail", broken(func(c *conn) {
		open := c.open
		var last transport.Conn
		c.open = func(ctx context.Context) (transport.Conn, error) {
			l, err := open(ctx)
			if err != nil {
				return last, nil
			}
			last = l
			return l, nil
		}
	})},
	{"waits for a lane whatever the context says", "LaneContext", "AcceptLane returns when", broken(func(c *conn) {
		accept := c.accept
		c.accept = func(ctx context.Context) (transport.Conn, error) { return accept(context.WithoutCancel(ctx)) }
	})},
	{"says that lanes are remote", "LaneInfo", "Info of a lane differs", broken(func(c *conn) {
		open := c.open
		c.open = func(ctx context.Context) (transport.Conn, error) {
			l, err := open(ctx)
			if err != nil {
				return nil, err
			}
			return &conn{
				read: l.ReadFrame, write: l.WriteFrames, end: l.CloseWithError,
				info: func() transport.Info { i := l.Info(); i.Local = false; return i },
			}, nil
		}
	})},
}
