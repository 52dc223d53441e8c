package faulty_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestLatency expects frames of one direction to arrive so much later, several
// of them under way at a time, and the other direction to be as ever.
func TestLatency(t *testing.T) {
	eachWay(t, func(b *lab, d faulty.Direction) {
		from, to := b.way(d)
		b.SetDirectionConditions(d, faulty.Conditions{Latency: 30 * ms})
		reading := startRead(to)
		b.write(from, "one", "two")
		b.at(0, "the end of a write")
		b.until(10 * ms)
		b.write(from, "three")
		if r := b.ended(reading, "the read"); r.frame != "one" {
			b.Errorf("the read gave %v", r)
		}
		b.at(30*ms, "the first frame")
		b.read(to, "two")
		b.at(30*ms, "the second frame of a batch")
		b.read(to, "three")
		b.at(40*ms, "the third frame")
		b.write(to, "back")
		b.read(from, "back")
		b.at(40*ms, "a frame in the other direction")
		b.SetConditions(faulty.Conditions{})
		b.write(from, "at once")
		b.read(to, "at once")
		b.at(40*ms, "a frame when nothing disturbs any more")
	})
}

// TestLatencyOfDial expects a dial to take the round trip and its own delay.
func TestLatencyOfDial(t *testing.T) {
	inBubble(t, func(b *lab) {
		b.SetDirectionConditions(faulty.Out, faulty.Conditions{Latency: 30 * ms})
		b.SetDirectionConditions(faulty.In, faulty.Conditions{Latency: 5 * ms})
		b.SetDialDelay(10 * ms)
		b.connect()
		b.at(45*ms, "the dial")
		b.SetConditions(faulty.Conditions{})
		b.connect()
		b.at(55*ms, "a dial with its own delay alone")
	})
}

// TestBandwidthAndSplit expects frames to leave one after the other: each by
// itself if split, else those of one write with the last of them.
func TestBandwidthAndSplit(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetDirectionConditions(faulty.Out, faulty.Conditions{Bandwidth: 1000, Split: true})
		b.write(near, "0123456789", "01234")
		b.read(far, "0123456789")
		b.at(10*ms, "the first frame")
		b.read(far, "01234")
		b.at(15*ms, "the second frame")
		b.SetDirectionConditions(faulty.Out, faulty.Conditions{Bandwidth: 1000})
		b.write(near, "0123456789", "01234")
		b.read(far, "0123456789")
		b.at(30*ms, "the first frame of a batch that stays together")
	})
}

// A recorder is a connection that keeps how many frames each write had.
type recorder struct {
	transport.Conn

	writes []int
}

func (r *recorder) WriteFrames(frames [][]byte) error {
	r.writes = append(r.writes, len(frames))
	return r.Conn.WriteFrames(frames)
}

// A recording transport dials recorders.
type recording struct {
	transport.Transport

	conn *recorder
}

func (r *recording) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	c, err := r.Transport.Dial(ctx, to)
	r.conn = &recorder{Conn: c}
	return r.conn, err
}

// TestWrites expects the link below to get frames in the writes that the
// conditions ask for, and in those of the user without any.
func TestWrites(t *testing.T) {
	for _, test := range []struct {
		name string
		c    faulty.Conditions
		want []int
	}{
		{"perfect", faulty.Conditions{}, []int{3, 1, 2}},
		{"split", faulty.Conditions{Split: true}, []int{1, 1, 1, 1, 1, 1}},
		{"late", faulty.Conditions{Latency: 5 * ms}, []int{3, 1, 2}},
		{"late and split", faulty.Conditions{Latency: 5 * ms, Split: true}, []int{1, 1, 1, 1, 1, 1}},
		{"merge", faulty.Conditions{Merge: 5 * ms}, []int{4, 2}},
		{"split and merge", faulty.Conditions{Split: true, Merge: 5 * ms}, []int{4, 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(b *lab) {
				r := &recording{Transport: inmem.NewNetwork().Node("peer")}
				l, err := r.Listen(b.Context(), "peer")
				if err != nil {
					b.Fatal(err)
				}
				b.Transport, b.listener = faulty.Wrap(r), l
				b.SetConditions(test.c)
				near, _ := b.connect()
				b.write(near, "1", "2", "3")
				time.Sleep(2 * ms)
				b.write(near, "4")
				time.Sleep(10 * ms)
				b.write(near, "5", "6")
				time.Sleep(20 * ms)
				synctest.Wait()
				if !slices.Equal(r.conn.writes, test.want) {
					b.Errorf("frames per write are %v, not %v", r.conn.writes, test.want)
				}
			})
		})
	}
}

// TestMerge expects what comes within the time after a frame to be handed over
// with it, at the end of that time.
func TestMerge(t *testing.T) {
	eachWay(t, func(b *lab, d faulty.Direction) {
		from, to := b.way(d)
		b.SetDirectionConditions(d, faulty.Conditions{Latency: 10 * ms, Merge: 20 * ms})
		reading := startRead(to)
		b.write(from, "one")
		b.until(15 * ms)
		b.write(from, "two")
		b.until(25 * ms)
		b.write(from, "three")
		b.ended(reading, "the read")
		b.at(30*ms, "the first frame")
		b.read(to, "two")
		b.at(30*ms, "the frame that came 15 ms later")
		b.read(to, "three")
		b.at(55*ms, "the frame that came after the time")
	})
}

// TestSameSeedSameDelays expects runs under one seed to be equal, whatever other
// connections do, those of another seed to differ, and two directions too.
func TestSameSeedSameDelays(t *testing.T) {
	run := func(seed uint64, d faulty.Direction, others bool) (delays []time.Duration) {
		inBubble(t, func(b *lab) {
			from, to := b.way(d)
			other, otherFar := b.connect()
			b.SetConditions(faulty.Conditions{Latency: ms, Jitter: 10 * ms, Tail: 0.1, TailLatency: 20 * ms})
			for range 200 {
				began := time.Now()
				reading := startRead(to)
				b.write(from, "frame")
				if others {
					b.write(other, "other")
					b.read(otherFar, "other")
				}
				b.ended(reading, "the read")
				if !others {
					delays = append(delays, time.Since(began))
				}
			}
		}, faulty.WithSeed(seed))
		return delays
	}
	first := run(1, faulty.Out, false)
	if !slices.Equal(first, run(1, faulty.Out, false)) {
		t.Error("the same seed gives other delays")
	}
	if slices.Equal(first, run(2, faulty.Out, false)) || slices.Equal(first, run(1, faulty.In, false)) {
		t.Error("another seed or direction gives the same delays")
	}
	if slices.Min(first) < ms || slices.Max(first) < 21*ms || slices.Max(first) > 2011*ms {
		t.Errorf("delays are %v to %v", slices.Min(first), slices.Max(first))
	}
}

// TestRoom expects writes to wait when 64 KiB are under way, in either
// direction, and to go on when there is room.
func TestRoom(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetDirectionConditions(faulty.Out, faulty.Conditions{Latency: time.Second})
		frame := string(make([]byte, 30<<10))
		writing := startWrite(near, frame, frame, frame, frame, frame)
		b.pending(writing, "a write of more than there is room for")
		b.read(far, frame, frame)
		b.at(time.Second, "the first frames")
		b.read(far, frame, frame)
		b.at(2*time.Second, "those that had to wait for room")
		if r := b.ended(writing, "the write"); r.err != nil {
			b.Errorf("the write gave %v", r.err)
		}
	})
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.Stall(faulty.In)
		reading := startRead(near)
		sent := 0
		go func() {
			for far.WriteFrames([][]byte{make([]byte, 1000)}) == nil {
				sent++
			}
		}()
		b.until(time.Minute)
		// The node holds 64 KiB and the link below as much.
		if sent < 60 || sent > 200 {
			b.Errorf("%d frames of 1000 bytes were sent to a node that receives nothing", sent)
		}
		b.Heal()
		if r := b.ended(reading, "the read"); r.err != nil {
			b.Errorf("after the stall the read gave %v", r.err)
		}
		synctest.Wait()
	})
}
