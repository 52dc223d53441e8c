package transporttest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gridmux/gridmux/transport"
)

func testCloseUnblocksRead(e *env) {
	rule := "CloseWithError unblocks ReadFrame on the same side"
	e.eachWay(func(near, _ transport.Conn) {
		reading := startRead(near)
		e.settle()
		e.close(near, 1, "enough")
		e.wantClosed(rule, wait(e, reading, rule))
	})
}

func testCloseUnblocksWrite(e *env) {
	rule := "CloseWithError unblocks WriteFrames on the same side"
	e.eachWay(func(near, far transport.Conn) {
		reading := startRead(near)
		writing := e.startFlood(near, far)
		e.close(near, 1, "enough")
		e.wantClosed(rule, wait(e, writing, rule))
		e.wantClosed("CloseWithError unblocks ReadFrame beside a blocked WriteFrames",
			wait(e, reading, "CloseWithError unblocks ReadFrame beside a blocked WriteFrames"))
	})
}

func testPeerCloseUnblocksRead(e *env) {
	rule := "CloseWithError unblocks ReadFrame on the other side, with code and reason"
	e.eachWay(func(near, far transport.Conn) {
		reading := startRead(near)
		e.settle()
		e.close(far, 3, "enough")
		e.wantPeerClose(rule, wait(e, reading, rule), 3, "enough")
	})
}

func testPeerCloseUnblocksWrite(e *env) {
	rule := "CloseWithError unblocks WriteFrames on the other side"
	e.eachWay(func(near, far transport.Conn) {
		writing := e.startFlood(near, far)
		e.close(far, 3, "enough")
		e.wantForeign(rule, wait(e, writing, rule))
		rule := "ReadFrame tells the code and reason of the close that ended a blocked WriteFrames"
		e.wantPeerClose(rule, wait(e, startRead(near), rule), 3, "enough")
	})
}

func testErrorsAfterClose(e *env) {
	rule := "after CloseWithError both methods fail on the same side"
	e.eachWay(func(near, far transport.Conn) {
		// What has arrived is not delivered any more either.
		written := start(func() error { return write(far, pattern(1, 10), pattern(2, 10)) })
		e.check(rule, wait(e, start(func() error { return read(near, pattern(1, 10)) }), rule))
		e.check(rule, wait(e, written, rule))
		e.settle()
		e.close(near, 0, "")
		for range 3 {
			e.wantClosed(rule, wait(e, startRead(near), rule))
			e.wantClosed(rule, wait(e, start(func() error { return write(near, pattern(0, 10)) }), rule))
		}
		e.close(far, 0, "")
		e.wantClosed(rule, wait(e, startRead(far), rule))
		e.wantClosed(rule, wait(e, start(func() error { return write(far, pattern(0, 10)) }), rule))
	})
}

func testErrorsAfterPeerClose(e *env) {
	e.eachWay(func(near, far transport.Conn) {
		e.close(far, 5, "gone")
		rule := "WriteFrames fails some time after the other side has closed, and stays so"
		for range 3 {
			e.wantForeign(rule, e.writeUntilError(rule, near))
		}
		rule = "ReadFrame fails with the peer's close, also after WriteFrames has failed"
		e.wantPeerClose(rule, wait(e, startRead(near), rule), 5, "gone")
		rule = "after its first error every ReadFrame fails"
		for range 3 {
			e.wantForeign(rule, wait(e, startRead(near), rule))
		}
		e.close(near, 6, "too")
		rule = "after CloseWithError on this side, too, errors match net.ErrClosed"
		e.wantClosed(rule, wait(e, startRead(near), rule))
		e.wantClosed(rule, wait(e, start(func() error { return write(near, pattern(0, 10)) }), rule))
	})
}

func testCloseDeliversFramesFirst(e *env) {
	const frames = 100
	rule := "frames written before CloseWithError are delivered before the peer learns of it"
	e.eachWay(func(near, far transport.Conn) {
		e.check(rule, wait(e, start(func() error {
			for n := 0; n < frames; n += 2 {
				if err := write(near, pattern(n, 100), pattern(n+1, 0)); err != nil {
					return err
				}
			}
			return nil
		}), "10 KiB are accepted while nobody reads"))
		e.close(near, 42, "done")
		e.settle()
		e.check(rule, wait(e, start(func() error {
			for n := 0; n < frames; n += 2 {
				if err := read(far, pattern(n, 100)); err != nil {
					return fmt.Errorf("frame %d of %d: %w", n, frames, err)
				}
				if err := read(far, nil); err != nil {
					return fmt.Errorf("frame %d of %d: %w", n+1, frames, err)
				}
			}
			return nil
		}), rule))
		e.wantPeerClose(rule, wait(e, startRead(far), rule), 42, "done")
	})
}

func testCloseCodes(e *env) {
	rule := "the peer gets the code of CloseWithError"
	for _, code := range []uint32{0, 1, 2, 255, 256, 500, transport.MaxCode} {
		e.eachWay(func(near, far transport.Conn) {
			e.close(near, code, "reason")
			e.wantPeerClose(rule, wait(e, startRead(far), rule), code, "reason")
		})
	}
}

func testCloseReasons(e *env) {
	rule := "the peer gets the reason of CloseWithError, cut as CutReason does"
	for _, reason := range []string{
		"",
		"x",
		"two\nlines",
		"zero \x00 byte",
		"zwölf Bücher, 十二本の本",
		"not UTF-8: \xff\xfe",
		strings.Repeat("r", transport.MaxReason),
		strings.Repeat("r", transport.MaxReason+1),
		strings.Repeat("r", transport.MaxReason-1) + "ü",
		strings.Repeat("本", 1000),
		strings.Repeat("r", 100_000),
	} {
		for _, code := range []uint32{0, 7} {
			near, far := e.connect(e.listener())
			e.close(near, code, reason)
			e.wantPeerClose(rule, wait(e, startRead(far), rule), code, transport.CutReason(reason))
		}
	}
}

func testFirstCloseCounts(e *env) {
	rule := "the first CloseWithError counts"
	e.eachWay(func(near, far transport.Conn) {
		e.close(near, 1, "first")
		e.close(near, 2, "second")
		e.wantPeerClose(rule, wait(e, startRead(far), rule), 1, "first")
		e.close(far, 3, "third")
		e.wantClosed(rule, wait(e, startRead(near), rule))
		e.close(near, 4, "fourth")
	})
}

func testConcurrentCloses(e *env) {
	const closers = 16
	rule := "CloseWithError may be called from any number of goroutines, and one of them counts"
	e.eachWay(func(near, far transport.Conn) {
		reading, blocked := startRead(near), e.startFlood(near, far)
		var closing []<-chan error
		for n := range closers {
			closing = append(closing, start(func() error {
				return near.CloseWithError(uint32(n), fmt.Sprint("number ", n))
			}))
		}
		for _, c := range closing {
			e.check("CloseWithError returns nil unless releasing the link failed", wait(e, c, rule))
		}
		e.wantClosed(rule, wait(e, reading, rule))
		e.wantClosed(rule, wait(e, blocked, rule))
	})
	e.eachWay(func(near, far transport.Conn) {
		reading := startRead(far)
		var closing []<-chan error
		for n := range closers {
			closing = append(closing, start(func() error {
				return near.CloseWithError(uint32(n), fmt.Sprint("number ", n))
			}))
		}
		for _, c := range closing {
			e.check("CloseWithError returns nil unless releasing the link failed", wait(e, c, rule))
		}
		err := wait(e, reading, rule)
		if ce, ok := errors.AsType[*transport.CloseError](err); ok {
			e.wantPeerClose(rule, err, min(ce.Code, closers-1), fmt.Sprint("number ", ce.Code))
		} else {
			e.Errorf("%s: the other side got %v", rule, err)
		}
	})
}

// testCloseIsQuick relies on close, which measures the time.
func testCloseIsQuick(e *env) {
	e.eachWay(func(near, far transport.Conn) {
		writing, farWriting := e.startFlood(near, far), e.startFlood(far, near)
		e.close(near, 9, strings.Repeat("a reason ", 100))
		rule := "CloseWithError unblocks WriteFrames on the same side though the link takes nothing"
		e.wantClosed(rule, wait(e, writing, rule))
		rule = "CloseWithError unblocks WriteFrames on the other side though nobody reads"
		e.wantForeign(rule, wait(e, farWriting, rule))
		e.close(far, 0, "")
	})
}

func testBothClose(e *env) {
	rule := "both ends may close at the same time"
	l := e.listener()
	for range 20 {
		near, far := e.connect(l)
		reading, farReading := startRead(near), startRead(far)
		closing := start(func() error { return near.CloseWithError(1, "near") })
		farClosing := start(func() error { return far.CloseWithError(2, "far") })
		e.check(rule, wait(e, closing, rule))
		e.check(rule, wait(e, farClosing, rule))
		// Either may have learnt of the other's close before its own.
		if err := wait(e, reading, rule); !closedOrPeer(err, 2, "far") {
			e.Errorf("%s: ReadFrame gave %v", rule, err)
		}
		if err := wait(e, farReading, rule); !closedOrPeer(err, 1, "near") {
			e.Errorf("%s: ReadFrame gave %v", rule, err)
		}
		e.wantClosed(rule, wait(e, startRead(near), rule))
		e.wantClosed(rule, wait(e, startRead(far), rule))
	}
}

func testAbruptEnd(e *env) {
	l := e.listener()
	near, far := e.connect(l)
	reading, farReading := startRead(near), startRead(far)
	other, otherFar := e.connect(l)
	writing := e.startFlood(other, otherFar)
	e.settle()
	e.Cut()

	rule := "ReadFrame fails when the link ends"
	for _, err := range []error{
		wait(e, reading, rule), wait(e, farReading, rule), wait(e, startRead(near), rule), wait(e, startRead(far), rule),
	} {
		e.wantAbrupt(rule, err)
	}
	rule = "a blocked WriteFrames fails when the link ends"
	e.wantAbrupt(rule, wait(e, writing, rule))
	rule = "ReadFrame fails when the link ends in the middle of a frame, without a part of it"
	e.wantAbrupt(rule, wait(e, start(func() error {
		size := min(other.Info().MaxFrame, largestFrame)
		for {
			f, err := otherFar.ReadFrame(maxLimit)
			if err != nil {
				return err
			}
			if len(f) != size {
				return fmt.Errorf("%w of %d bytes in place of %d", errFrame, len(f), size)
			}
		}
	}), rule))
	rule = "WriteFrames fails some time after the link has ended"
	e.wantAbrupt(rule, e.writeUntilError(rule, near))
	e.wantAbrupt(rule, e.writeUntilError(rule, far))

	rule = "after CloseWithError errors match net.ErrClosed though the link had ended before"
	for _, c := range []transport.Conn{near, far, other, otherFar} {
		wait(e, start(func() error { return c.CloseWithError(1, "") }), "CloseWithError returns when the link has ended")
		e.wantClosed(rule, wait(e, startRead(c), rule))
		e.wantClosed(rule, wait(e, start(func() error { return write(c, pattern(0, 10)) }), rule))
	}

	near, far = e.connect(l)
	e.exchange("after a link has ended the nodes can connect again", near, far)
}
