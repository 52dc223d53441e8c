package transporttest

import (
	"fmt"

	"github.com/gridmux/gridmux/transport"
)

func testFullDuplex(e *env) {
	const frames = 100
	rule := "a direction in which the link takes no more does not hold up the other"
	e.eachWay(func(near, far transport.Conn) {
		blocked := e.startFlood(near, far)
		written := start(func() error {
			for n := range frames {
				if err := write(far, pattern(n, 500)); err != nil {
					return err
				}
			}
			return nil
		})
		e.check(rule, wait(e, start(func() error {
			for n := range frames {
				if err := read(near, pattern(n, 500)); err != nil {
					return err
				}
			}
			return nil
		}), rule))
		e.check(rule, wait(e, written, rule))
		e.close(near, 0, "")
		wait(e, blocked, "CloseWithError unblocks WriteFrames")
	})
}

func testVolumeBothWays(e *env) {
	const volume = 4 << 20
	rule := "both ends can write a lot while both read"
	e.eachWay(func(near, far transport.Conn) {
		largest := min(near.Info().MaxFrame, far.Info().MaxFrame, 200_000)
		sizes := []int{0, 1, 100, 4096, largest, 700, 32 << 10, 126, 5000}
		frames := 0
		for sent := 0; sent < volume; frames++ {
			sent += sizes[frames%len(sizes)]
		}
		ends := [2]transport.Conn{near, far}
		var done []<-chan error
		for i := range ends {
			out, in := ends[i], ends[1-i]
			done = append(done, start(func() error {
				for n := 0; n < frames; n += 3 {
					var batch [][]byte
					for k := n; k < min(n+3, frames); k++ {
						batch = append(batch, pattern(k+i, sizes[k%len(sizes)]))
					}
					if err := write(out, batch...); err != nil {
						return err
					}
				}
				return nil
			}), start(func() error {
				for n := range frames {
					if err := read(in, pattern(n+i, sizes[n%len(sizes)])); err != nil {
						return fmt.Errorf("frame %d: %w", n, err)
					}
				}
				return nil
			}))
		}
		for _, d := range done {
			e.check(rule, wait(e, d, rule))
		}
	})
}

func testConnectionsAreIndependent(e *env) {
	l := e.listener()
	near, far := e.connect(l)
	blocked := e.startFlood(near, far)
	other, otherFar := e.connect(l)
	e.exchange("a connection that takes no more holds up neither dialling nor another connection", other, otherFar)
	e.close(far, 0, "")
	e.exchange("closing a connection leaves others alone", other, otherFar)
	e.close(near, 0, "")
	wait(e, blocked, "WriteFrames returns when both ends have closed")
	e.exchange("closing a connection leaves others alone", other, otherFar)
}
