package transporttest

import (
	"context"
	"errors"
	"fmt"

	"github.com/gridmux/gridmux/transport"
)

// eachLaneWay is eachWay for connections with lanes.
func (e *env) eachLaneWay(f func(near, far transport.LaneConn)) {
	e.Helper()
	e.eachWay(func(near, far transport.Conn) {
		a, ok := near.(transport.LaneConn)
		b, okFar := far.(transport.LaneConn)
		if ok != okFar {
			e.Fatalf("both ends of a connection have lanes, or none: %v and %v", ok, okFar)
		}
		if !ok {
			e.Fatal("the connections of a fixture with Lanes implement transport.LaneConn")
		}
		f(a, b)
	})
}

func startOpenLane(ctx context.Context, c transport.LaneConn) <-chan connResult {
	return start(func() connResult {
		l, err := c.OpenLane(ctx)
		return connResult{l, err}
	})
}

func startAcceptLane(ctx context.Context, c transport.LaneConn) <-chan connResult {
	return start(func() connResult {
		l, err := c.AcceptLane(ctx)
		return connResult{l, err}
	})
}

// openLane opens a lane and makes it known with a first frame.
func (e *env) openLane(c transport.LaneConn, first []byte) transport.Conn {
	e.Helper()
	r := wait(e, startOpenLane(context.Background(), c), "OpenLane returns")
	e.check("OpenLane succeeds on a live connection", r.err)
	e.closeAtEnd(r.conn)
	rule := "a lane takes frames before the peer has accepted it"
	e.check(rule, wait(e, start(func() error { return write(r.conn, first) }), rule))
	return r.conn
}

func (e *env) acceptLane(c transport.LaneConn, first []byte) transport.Conn {
	e.Helper()
	rule := "AcceptLane returns the lanes that the peer opened in the order of opening, with their frames"
	r := wait(e, startAcceptLane(context.Background(), c), rule)
	e.check(rule, r.err)
	e.closeAtEnd(r.conn)
	e.check(rule, wait(e, start(func() error { return read(r.conn, first) }), rule))
	return r.conn
}

func (e *env) lane(near, far transport.LaneConn) (nearLane, farLane transport.Conn) {
	e.Helper()
	first := pattern(1, 20)
	nearLane = e.openLane(near, first)
	return nearLane, e.acceptLane(far, first)
}

// testLaneFrames holds a lane to the main rules of a connection.
func testLaneFrames(e *env) {
	const frames = 300
	rule := "a lane carries frames in order, with their boundaries, both ways"
	size := func(n int) int { return [...]int{0, 1, 126, 5000, 65536, 9}[n%6] }
	e.eachLaneWay(func(near, far transport.LaneConn) {
		x, y := e.lane(near, far)
		for _, way := range [][2]transport.Conn{{x, y}, {y, x}} {
			written := start(func() error {
				for n := 0; n < frames; n += 2 {
					if err := write(way[0], pattern(n, size(n)), pattern(n+1, size(n+1))); err != nil {
						return err
					}
				}
				return nil
			})
			e.check(rule, wait(e, start(func() error {
				for n := range frames {
					if err := read(way[1], pattern(n, size(n))); err != nil {
						return fmt.Errorf("frame %d: %w", n, err)
					}
				}
				return nil
			}), rule))
			e.check(rule, wait(e, written, rule))
		}
		written := start(func() error { return write(x, pattern(0, 101)) })
		rule := "a lane obeys the limit of ReadFrame"
		err := wait(e, start(func() error { _, err := y.ReadFrame(100); return err }), rule)
		if !errors.Is(err, transport.ErrFrameTooLarge) {
			e.Errorf("%s: got %v", rule, err)
		}
		e.check("WriteFrames on a lane takes a small frame", wait(e, written, "WriteFrames on a lane returns"))
		e.exchange("a lane that has failed leaves its connection alone", near, far)
	})
}

func testLaneOrder(e *env) {
	const lanes = 10
	e.eachLaneWay(func(near, far transport.LaneConn) {
		var opened, accepted []transport.Conn
		for n := range lanes {
			opened = append(opened, e.openLane(near, pattern(n, 30)))
		}
		for n := range lanes {
			accepted = append(accepted, e.acceptLane(far, pattern(n, 30)))
		}
		for n := range lanes {
			e.exchange("lanes keep their frames apart", opened[n], accepted[n])
		}
		// Both sides may open lanes.
		x, y := e.lane(far, near)
		e.exchange("both ends can open lanes", x, y)
	})
}

func testLaneStall(e *env) {
	rule := "a lane that stalls holds up no other lane"
	e.eachLaneWay(func(near, far transport.LaneConn) {
		stalled, stalledFar := e.lane(near, far)
		x, y := e.lane(near, far)
		blocked := e.startFlood(stalled, stalledFar)
		e.exchange(rule, near, far)
		e.exchange(rule, x, y)
		later, laterFar := e.lane(near, far)
		e.exchange(rule, later, laterFar)
		e.close(stalled, 0, "")
		e.wantClosed(rule, wait(e, blocked, "CloseWithError on a lane unblocks its WriteFrames"))
		e.exchange(rule, near, far)
		e.exchange(rule, x, y)
	})
}

func testLaneClose(e *env) {
	rule := "CloseWithError on a lane ends that lane alone"
	e.eachLaneWay(func(near, far transport.LaneConn) {
		x, y := e.lane(near, far)
		other, otherFar := e.lane(near, far)
		reading, readingFar := startRead(x), startRead(y)
		e.settle()
		e.close(x, 11, "lane done")
		e.wantClosed(rule, wait(e, reading, rule))
		e.wantClosed(rule, wait(e, start(func() error { return write(x, pattern(0, 5)) }), rule))
		e.wantPeerClose("the peer's end of a lane learns its code and reason", wait(e, readingFar, rule), 11, "lane done")
		e.wantForeign("the peer's end of a lane fails to write some time after", e.writeUntilError(rule, y))
		e.close(y, 0, "")
		e.exchange(rule, other, otherFar)
		e.exchange(rule, near, far)

		// From the side that accepted, with frames that go first.
		x, y = e.lane(near, far)
		e.check(rule, wait(e, start(func() error { return write(y, pattern(1, 50), pattern(2, 60)) }), rule))
		e.close(y, 12, "")
		rule := "frames written before CloseWithError on a lane are delivered before the peer learns of it"
		e.check(rule, wait(e, start(func() error {
			return errors.Join(read(x, pattern(1, 50)), read(x, pattern(2, 60)))
		}), rule))
		e.wantPeerClose(rule, wait(e, startRead(x), rule), 12, "")
		e.exchange("CloseWithError on a lane ends that lane alone", near, far)
	})
}

func testLanesEndWithConnection(e *env) {
	rule := "the end of a connection is that of all its lanes"
	e.eachLaneWay(func(near, far transport.LaneConn) {
		x, y := e.lane(near, far)
		idleFar, idle := e.lane(far, near)
		blocked := e.startFlood(x, y)
		reading, readingFar := startRead(idle), startRead(idleFar)
		accepting, acceptingFar := startAcceptLane(context.Background(), near), startAcceptLane(context.Background(), far)
		e.settle()
		e.close(near, 13, "all over")

		e.wantClosed(rule, wait(e, blocked, rule))
		e.wantClosed(rule, wait(e, reading, rule))
		e.wantClosed(rule, wait(e, startRead(x), rule))
		e.wantForeign(rule, wait(e, readingFar, rule))
		for _, a := range []<-chan connResult{accepting, acceptingFar} {
			if wait(e, a, rule).err == nil {
				e.Errorf("%s: AcceptLane returned a lane after it", rule)
			}
		}
		e.wantPeerClose(rule, wait(e, startRead(far), rule), 13, "all over")
		e.close(far, 14, "")
		e.settle()
		rule := "OpenLane and AcceptLane fail after CloseWithError on this side"
		e.wantClosed(rule, wait(e, startOpenLane(context.Background(), near), rule).err)
		if wait(e, startAcceptLane(context.Background(), near), rule).err == nil {
			e.Errorf("%s: AcceptLane returned a lane", rule)
		}
	})
}

func testLaneContext(e *env) {
	rule := "AcceptLane returns when its context ends"
	e.eachLaneWay(func(near, far transport.LaneConn) {
		ctx, cancel := context.WithCancel(context.Background())
		accepting := startAcceptLane(ctx, far)
		e.settle()
		cancel()
		e.wantContext(ctx, rule, wait(e, accepting, rule).err)

		ctx, cancel = context.WithCancel(context.Background())
		opening, accepting := startOpenLane(ctx, near), startAcceptLane(ctx, far)
		opened := wait(e, opening, "OpenLane returns")
		e.check("OpenLane succeeds on a live connection", opened.err)
		e.closeAtEnd(opened.conn)
		written := start(func() error { return write(opened.conn, pattern(1, 10)) })
		accepted := wait(e, accepting, "AcceptLane returns a lane that was opened")
		e.check("AcceptLane succeeds on a live connection", accepted.err)
		e.closeAtEnd(accepted.conn)
		cancel()
		e.settle()
		rule := "once OpenLane and AcceptLane have returned, their contexts have no influence on the lane"
		e.check(rule, wait(e, written, rule))
		e.check(rule, wait(e, start(func() error { return read(accepted.conn, pattern(1, 10)) }), rule))
		e.exchange(rule, opened.conn, accepted.conn)
	})
}

func testLaneInfo(e *env) {
	e.eachLaneWay(func(near, far transport.LaneConn) {
		x, y := e.lane(near, far)
		for _, pair := range [][2]transport.Conn{{x, near}, {y, far}} {
			lane, conn := pair[0].Info(), pair[1].Info()
			if lane.Headroom < 0 || lane.Headroom > 64 || lane.MaxFrame < 64<<10 {
				e.Errorf("Headroom of a lane is 0 to 64 bytes, MaxFrame at least 64 KiB: %d and %d", lane.Headroom, lane.MaxFrame)
			}
			lane.Headroom, lane.MaxFrame = conn.Headroom, conn.MaxFrame
			if !sameInfo(lane, conn) {
				e.Errorf("Info of a lane differs from that of its connection at most in Headroom and MaxFrame: %+v and %+v", lane, conn)
			}
		}
	})
}
