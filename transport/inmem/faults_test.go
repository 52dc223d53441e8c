package inmem_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

func TestLatency(t *testing.T) {
	inBubble(t, func(b *lab) {
		b.SetLatency(30 * ms)
		near, far := b.connect()
		b.at(60*ms, "dialling, a round trip,")
		b.write(near, "one", "two")
		b.at(60*ms, "the end of a write")
		b.until(70 * ms)
		b.write(near, "three")
		b.read(far, "one")
		b.at(90*ms, "the first frame")
		b.read(far, "two")
		b.at(90*ms, "the second frame of a batch")
		b.read(far, "three")
		b.at(100*ms, "the third frame")
		b.write(far, "back")
		b.read(near, "back")
		b.at(130*ms, "a frame in the other direction")
	})
}

func TestLatencyOfPath(t *testing.T) {
	inBubble(t, func(b *lab) {
		b.SetLatency(100 * ms)
		b.SetPathLatency("a", "b", 5*ms)
		near, far := b.connect()
		b.at(105*ms, "dialling")
		b.write(near, "fast")
		b.read(far, "fast")
		b.at(110*ms, "a frame on the path")
		b.write(far, "slow")
		b.read(near, "slow")
		b.at(210*ms, "a frame on the way back")
		b.SetPathLatency("a", "b", -1)
		b.write(near, "slow")
		b.read(far, "slow")
		b.at(310*ms, "a frame when the path has the network's latency again")
		b.SetPathLatency("a", "b", 0)
		b.write(near, "at once")
		b.read(far, "at once")
		b.at(310*ms, "a frame on a path without latency")
	})
}

func TestLatencyThatFalls(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetLatency(100 * ms)
		b.write(near, "one")
		b.until(20 * ms)
		b.SetLatency(10 * ms)
		b.write(near, "two")
		b.SetLatency(0)
		b.write(near, "three")
		b.read(far, "one", "two", "three")
		b.at(100*ms, "the last frame")
		b.write(near, "four")
		b.read(far, "four")
		b.at(100*ms, "a frame after those that were under way")
	})
}

func TestLatencyOfClose(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetLatency(10 * ms)
		full := b.startWrite(far, string(make([]byte, 100<<10)), "more")
		b.stillPending(full, "a write into a full buffer")
		b.write(near, "last words")
		if err := near.CloseWithError(7, "bye"); err != nil {
			b.Error(err)
		}
		b.at(0, "the end of a close")
		b.read(far, "last words")
		b.at(10*ms, "the last frame")
		_, err := far.ReadFrame(1)
		if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Code != 7 {
			b.Errorf("the close arrived as %v", err)
		}
		b.at(10*ms, "the close")
		if o := b.ends(full, 10*ms, "the blocked write"); o.err == nil {
			b.Error("the blocked write succeeded")
		}
	})
}

func TestBufferAndLatency(t *testing.T) {
	inBubble(t, func(b *lab) {
		b.SetLatency(10 * ms)
		near, far := b.connect()
		frame := string(make([]byte, 300))
		writing := b.startWrite(near, frame, frame, frame, frame)
		b.until(25 * ms)
		b.stillPending(writing, "a write of more than the buffer has room for")
		b.until(40 * ms)
		b.read(far, frame, frame)
		b.ends(writing, 40*ms, "the write")
		b.read(far, frame, frame)
		b.at(50*ms, "the frames that had to wait for room")
	}, inmem.WithBuffer(800))
}

func TestPartition(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		c := b.listen("c")
		b.write(near, "before")
		b.Partition("a", "b")
		b.write(near, "during")
		b.write(far, "during, back")
		b.read(far, "before") // had arrived
		reading, readingBack := b.startRead(far), b.startRead(near)
		full := b.startWrite(near, string(make([]byte, 100<<10)))
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		dialling := b.startDial(ctx, "a", "b")
		patient := b.startDial(b.Context(), "b", "a")
		b.listen("a")
		if o := b.ends(dialling, time.Minute, "a dial through a partition"); !errors.Is(o.err, context.DeadlineExceeded) {
			b.Errorf("a dial through a partition gave %v", o)
		}
		near2, _ := dialTo(b, b.Node("a"), c)
		b.write(near2, "others are well")

		b.until(time.Hour)
		for what, p := range map[string]*pending{
			"a read": reading, "a read of the other side": readingBack, "a write": full, "a dial": patient,
		} {
			b.stillPending(p, what+" through a partition")
		}
		b.Heal("b", "a")
		if o := b.ends(reading, time.Hour, "a read"); o.frame != "during" {
			b.Errorf("after the partition the read gave %v", o)
		}
		if o := b.ends(readingBack, time.Hour, "a read"); o.frame != "during, back" {
			b.Errorf("after the partition the read gave %v", o)
		}
		if o := b.ends(patient, time.Hour, "a dial"); o.err != nil {
			b.Errorf("after the partition the dial gave %v", o)
		}
		b.read(far, string(make([]byte, 100<<10)))
		b.ends(full, time.Hour, "a write")
	})
}

func TestPartitionHoldsWhatIsUnderWay(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetLatency(100 * ms)
		b.write(near, "arrives")
		b.until(50 * ms)
		b.write(near, "is held")
		b.until(120 * ms)
		b.Partition("a", "b")
		b.until(time.Second)
		b.read(far, "arrives")
		b.at(time.Second, "reading what had arrived before the partition")
		b.write(near, "is late")
		b.until(time.Second + 20*ms)
		b.HealAll()
		b.read(far, "is held")
		b.at(time.Second+20*ms, "the frame that was held")
		b.read(far, "is late")
		b.at(time.Second+100*ms, "the frame that had been written just before")
	})
}

func TestPartitionOneWay(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.listen("a")
		b.PartitionOneWay("a", "b")
		b.write(far, "passes")
		b.read(near, "passes")
		b.write(near, "is held")
		reading := b.startRead(far)
		b.stillPending(reading, "a read from the silenced side")
		for _, dial := range [][2]string{{"a", "b"}, {"b", "a"}} {
			began := time.Since(b.began)
			ctx, cancel := context.WithTimeout(b.Context(), time.Second)
			if o := b.ends(b.startDial(ctx, dial[0], dial[1]), began+time.Second, "a dial"); o.err == nil {
				b.Error("a dial got through although one direction is silent")
			}
			cancel()
		}
		b.Heal("a", "b")
		if o := b.ends(reading, 2*time.Second, "a read"); o.frame != "is held" {
			b.Errorf("after the partition the read gave %v", o)
		}
	})
}

func TestPartitionHoldsTheEnd(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.Partition("a", "b")
		b.write(near, "last words")
		if err := near.CloseWithError(3, "bye"); err != nil {
			b.Error(err)
		}
		b.write(far, "nobody hears this")
		reading := b.startRead(far)
		b.until(time.Hour)
		b.stillPending(reading, "a read of a connection whose close is held")
		b.write(far, "nor this")
		b.Heal("a", "b")
		if o := b.ends(reading, time.Hour, "a read"); o.frame != "last words" {
			b.Errorf("after the partition the read gave %v", o)
		}
		_, err := far.ReadFrame(1)
		if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Code != 3 || ce.Reason != "bye" {
			b.Errorf("the close arrived as %v", err)
		}
		if err := far.WriteFrames([][]byte{{1}}); err == nil {
			b.Error("a write succeeded after the peer's close had arrived")
		}
	})
}

func TestStall(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.Stall("a", "b")
		b.write(near, "is held")
		reading := b.startRead(far)
		b.write(far, "passes")
		b.read(near, "passes")
		b.until(time.Minute)
		b.stillPending(reading, "a read of a stalled connection")

		other, otherFar := b.connect()
		b.write(other, "a new connection is well")
		b.read(otherFar, "a new connection is well")

		b.Heal("a", "b")
		if o := b.ends(reading, time.Minute, "a read"); o.frame != "is held" {
			b.Errorf("after the stall the read gave %v", o)
		}
	})
}

func TestCut(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		other, otherFar := dialTo(b, b.Node("c"), b.listener)
		b.SetLatency(time.Hour)
		b.write(near, "is lost")
		b.Partition("a", "b")
		reading, readingFar := b.startRead(near), b.startRead(far)
		full := b.startWrite(near, string(make([]byte, 100<<10)))
		synctest.Wait()
		b.Cut("b", "a")
		for what, p := range map[string]*pending{"a read": reading, "a read of the other side": readingFar, "a write": full} {
			if o := b.ends(p, 0, what); !isReset(o.err) {
				b.Errorf("%s of a connection that was cut gave %v", what, o)
			}
		}
		b.HealAll()
		b.SetLatency(0)
		b.write(other, "others are well")
		b.read(otherFar, "others are well")
		near, far = b.connect()
		b.write(near, "dialled again")
		b.read(far, "dialled again")
	})
}

func TestCrash(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		waiting, err := b.Node("a").Dial(b.Context(), transport.Peer{Addr: "b"})
		if err != nil {
			b.Fatal(err)
		}
		back, _ := dialTo(b, b.Node("b"), b.listen("c"))
		b.SetLatency(20 * ms)
		b.write(near, "unread")
		reading, readingFar := b.startRead(near), b.startRead(far)
		readingWaiting, readingBack := b.startRead(waiting), b.startRead(back)
		dialling := b.startDial(b.Context(), "b", "c")
		b.until(5 * ms)
		b.Crash("b")
		if o := b.ends(readingFar, 5*ms, "a read of the crashed node"); !isReset(o.err) {
			b.Errorf("a read of the crashed node gave %v", o)
		}
		if o := b.ends(readingBack, 5*ms, "a read of a connection that the crashed node had dialled"); !isReset(o.err) {
			b.Errorf("a read of a connection that the crashed node had dialled gave %v", o)
		}
		if o := b.ends(reading, 25*ms, "a read of its peer"); !isReset(o.err) {
			b.Errorf("a read of its peer gave %v", o)
		}
		if o := b.ends(readingWaiting, 25*ms, "a read of an unaccepted connection"); !isReset(o.err) {
			b.Errorf("a read of an unaccepted connection gave %v", o)
		}
		if o := b.ends(dialling, 40*ms, "a dial of the crashed node"); o.err == nil {
			b.Error("a dial of the crashed node succeeded")
		}
		if _, err := b.listener.Accept(b.Context()); err == nil || errors.Is(err, net.ErrClosed) {
			b.Errorf("Accept of the crashed node gave error %v", err)
		}
		if o := b.ends(b.startDial(b.Context(), "a", "b"), 80*ms, "a dial to the crashed node"); o.err == nil {
			b.Error("a dial to the crashed node succeeded")
		}
		if err := waiting.CloseWithError(0, ""); err != nil {
			b.Error(err)
		}

		b.listener = b.listen("b")
		near, far = b.connect()
		b.write(near, "restarted")
		b.read(far, "restarted")
	})
}

func TestCrashBehindPartition(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, _ := b.connect()
		b.Partition("a", "b")
		reading := b.startRead(near)
		b.Crash("b")
		b.until(time.Hour)
		b.stillPending(reading, "a read of a connection whose peer crashed behind a partition")
		b.Heal("a", "b")
		if o := b.ends(reading, time.Hour, "the read"); !isReset(o.err) {
			b.Errorf("the read gave %v", o)
		}
	})
}

func TestLanesShareTheFate(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetLatency(10 * ms)
		b.Partition("a", "b")
		lane, err := near.(transport.LaneConn).OpenLane(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.write(lane, "on the lane")
		var farLane transport.Conn
		accepting := b.start(func() (_ string, err error) {
			farLane, err = far.(transport.LaneConn).AcceptLane(b.Context())
			return "", err
		})
		b.until(time.Minute)
		b.stillPending(accepting, "AcceptLane of a lane that a partition holds")
		b.Heal("a", "b")
		if o := b.ends(accepting, time.Minute, "AcceptLane"); o.err != nil {
			b.Fatal(o)
		}
		b.read(farLane, "on the lane")
		b.write(farLane, "back")
		b.read(lane, "back")
		b.at(time.Minute+10*ms, "a frame on the lane")

		reading, readingFar := b.startRead(lane), b.startRead(farLane)
		synctest.Wait()
		b.Cut("a", "b")
		for what, p := range map[string]*pending{"a read of a lane": reading, "a read of its other end": readingFar} {
			if o := b.ends(p, time.Minute+10*ms, what); !isReset(o.err) {
				b.Errorf("%s when the connection is cut gave %v", what, o)
			}
		}
		if _, err := near.(transport.LaneConn).OpenLane(b.Context()); !isReset(err) {
			b.Errorf("OpenLane on a connection that was cut gave error %v", err)
		}
	})
}
