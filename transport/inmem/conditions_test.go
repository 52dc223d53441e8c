package inmem_test

import (
	"bytes"
	"math/bits"
	"slices"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// TestBandwidth expects frames to leave one after the other, each in the time
// that its bytes take, and the frames of one write to arrive with the last.
func TestBandwidth(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetPathConditions("a", "b", inmem.Conditions{Latency: 10 * ms, Bandwidth: 1000})
		hundred := string(make([]byte, 100))
		b.write(near, hundred)
		b.write(near, hundred, hundred)
		b.at(0, "the end of the writes")
		b.read(far, hundred)
		b.at(110*ms, "a frame that takes 100 ms to leave and 10 ms to travel")
		b.read(far, hundred)
		b.at(310*ms, "the first frame of a batch that takes 200 ms more to leave")
		b.read(far, hundred)
		b.at(310*ms, "the second frame of that batch")
		b.until(time.Second)
		b.write(near, hundred)
		b.read(far, hundred)
		b.at(1110*ms, "a frame that found the line free")
		b.write(far, hundred)
		b.read(near, hundred)
		b.at(1110*ms, "a frame in the direction that was left alone")
	})
}

// TestSplit expects the frames of one write to arrive each by itself.
func TestSplit(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetConditions(inmem.Conditions{Bandwidth: 1000, Split: true})
		b.write(near, "0123456789", "01234", "")
		b.read(far, "0123456789")
		b.at(10*ms, "the first frame")
		b.read(far, "01234", "")
		b.at(15*ms, "the second frame, and one without bytes behind it")
	})
}

// TestMerge expects what arrives within the time after a frame to be handed over
// with it, at the end of that time.
func TestMerge(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetConditions(inmem.Conditions{Latency: 10 * ms, Merge: 20 * ms})
		b.write(near, "one")
		b.until(15 * ms)
		b.write(near, "two")
		b.until(25 * ms)
		b.write(near, "three")
		_ = near.CloseWithError(0, "")
		b.read(far, "one")
		b.at(30*ms, "the first frame")
		b.read(far, "two")
		b.at(30*ms, "the frame that came 15 ms later")
		b.read(far, "three")
		b.at(55*ms, "the frame that came after the time")
		_, err := far.ReadFrame(1)
		b.at(55*ms, "the close that came with it")
		if err == nil {
			b.Error("the close did not arrive")
		}
	})
}

// delays sends frames one at a time and returns how long each took.
func delays(b *lab, near, far transport.Conn, n int) (all []time.Duration) {
	b.Helper()
	for range n {
		began := time.Now()
		b.write(near, "frame")
		b.read(far, "frame")
		all = append(all, time.Since(began))
	}
	return all
}

// TestJitter expects delays evenly between the latency and the jitter more, and
// frames in order however they are drawn.
func TestJitter(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetConditions(inmem.Conditions{Latency: 10 * ms, Jitter: 8 * ms})
		ds := delays(b, near, far, 1000)
		var sum time.Duration
		for _, d := range ds {
			sum += d
		}
		if least, most := slices.Min(ds), slices.Max(ds); least < 10*ms || least > 11*ms || most > 18*ms || most < 17*ms {
			b.Errorf("delays are %v to %v, not 10 ms to 18 ms", least, most)
		}
		if mean := sum / 1000; mean < 13500*time.Microsecond || mean > 14500*time.Microsecond {
			b.Errorf("delays are %v in the mean, not about 14 ms", mean)
		}
		for i := range 200 {
			b.write(near, string(rune(i)))
		}
		for i := range 200 {
			b.read(far, string(rune(i)))
		}
	})
}

// TestTail expects the share that was set to take at least TailLatency more,
// half of that twice as long, a tenth ten times, and nothing over 100 times.
func TestTail(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetConditions(inmem.Conditions{Latency: ms, Tail: 0.1, TailLatency: 50 * ms})
		slow, slower, slowest := 0, 0, 0
		for _, d := range delays(b, near, far, 3000) {
			switch {
			case d == ms:
			case d < 51*ms || d > 5001*ms:
				b.Fatalf("a frame took %v", d)
			case d > 501*ms:
				slowest++
				fallthrough
			case d > 101*ms:
				slower++
				fallthrough
			default:
				slow++
			}
		}
		if slow < 240 || slow > 360 || slower < slow*2/5 || slower > slow*3/5 || slowest < slow/20 || slowest > slow/5 {
			b.Errorf("of 3000 frames %d were slow, %d took twice and %d ten times the least, not about 300, 150 and 30",
				slow, slower, slowest)
		}
	})
}

// TestCorrupt expects one bit of the share of frames that was set to flip: on a
// connection with integrity that ends it, else the frame arrives changed.
func TestCorrupt(t *testing.T) {
	const frame = "a frame whose bits are counted"
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetConditions(inmem.Conditions{Corrupt: 1})
		b.write(near, frame)
		if o := b.ends(b.startRead(far), 0, "the read"); !isReset(o.err) || o.err.Error() != "inmem: a frame was corrupted" {
			b.Errorf("the receiver got %v", o)
		}
		if o := b.ends(b.startRead(near), 0, "the read"); !isReset(o.err) {
			b.Errorf("the sender got %v", o)
		}
		if err := near.WriteFrames([][]byte{{1}}); !isReset(err) {
			b.Errorf("the next write gave error %v", err)
		}
	})
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		if near.Info().Integrity || far.Info().Integrity {
			b.Error("the connection announces integrity")
		}
		b.SetPathConditions("a", "b", inmem.Conditions{Corrupt: 0.5})
		changed, places := 0, map[int]bool{}
		for range 1000 {
			b.write(near, frame, "")
			got, err := far.ReadFrame(100)
			if err != nil {
				b.Fatal(err)
			}
			if n, at := flipped(got, []byte(frame)); n == 1 {
				changed++
				places[at] = true
			} else if n != 0 {
				b.Fatalf("%d bits have flipped in a frame", n)
			}
			b.read(far, "")
		}
		if changed < 430 || changed > 570 || len(places) < len(frame)*5 {
			b.Errorf("%d of 1000 frames were changed, at %d different bits", changed, len(places))
		}
	}, inmem.WithoutIntegrity())
}

// flipped counts the bits that differ, and returns the last one.
func flipped(got, want []byte) (n, at int) {
	if len(got) != len(want) {
		return -1, -1
	}
	for i := range got {
		if d := got[i] ^ want[i]; d != 0 {
			n += bits.OnesCount8(d)
			at = i*8 + bits.TrailingZeros8(d)
		}
	}
	return n, at
}

// TestPathConditions expects what is set for one direction to hold there alone,
// in place of all that is set for the network, until it is reset.
func TestPathConditions(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		there := func(want time.Duration, what string) {
			b.Helper()
			if d := delays(b, near, far, 1)[0]; d != want {
				b.Errorf("%s: there takes %v, not %v", what, d, want)
			}
		}
		b.SetConditions(inmem.Conditions{Latency: 10 * ms, Bandwidth: 5000})
		there(11*ms, "the network's conditions")
		b.SetPathConditions("a", "b", inmem.Conditions{Latency: 3 * ms})
		there(3*ms, "the path's conditions")
		if d := delays(b, far, near, 1)[0]; d != 11*ms {
			b.Errorf("back takes %v, not 11 ms", d)
		}
		b.SetPathLatency("a", "b", 7*ms)
		there(7*ms, "the path's latency")
		b.SetPathLatency("a", "b", -1)
		there(3*ms, "without the path's latency")
		b.SetLatency(20 * ms)
		there(3*ms, "when the network's latency has changed")
		b.ResetPathConditions("a", "b")
		there(21*ms, "the network's conditions again")
		b.SetConditions(inmem.Conditions{})
		there(0, "a perfect link")
	})
}

// TestSenselessConditions expects values out of range to count as the nearest
// sensible one, and instants that are centuries away not to overflow.
func TestSenselessConditions(t *testing.T) {
	for _, opts := range [][]inmem.Option{nil, {inmem.WithSeed(1)}} {
		inBubble(t, func(b *lab) {
			near, far := b.connect()
			nan := 0.0
			nan /= nan
			b.SetConditions(inmem.Conditions{
				Latency: -1, Jitter: -1, Tail: nan, TailLatency: -1, Bandwidth: -1, Corrupt: nan, Merge: -1,
			})
			b.write(near, "passes")
			b.read(far, "passes")
			const forever = 1<<63 - 1
			b.SetConditions(inmem.Conditions{
				Latency: forever, Jitter: forever, Tail: forever, TailLatency: forever, Bandwidth: 1, Merge: forever,
			})
			b.SetAcceptDelay("b", forever)
			for range 30 {
				b.write(near, string(make([]byte, 1000)))
			}
			reading := b.startRead(far)
			b.until(365 * 24 * time.Hour)
			b.stillPending(reading, "a read of what takes centuries")
			b.Cut("a", "b")
			<-reading.c
		}, opts...)
	}
}

// TestOneByteOfBuffer expects a connection to carry everything, one frame at a
// time, when the buffer has no room for a second one.
func TestOneByteOfBuffer(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetLatency(ms)
		frames := []string{"", "x", string(bytes.Repeat([]byte("long"), 50_000)), "", "y"}
		began := time.Now()
		writing := b.startWrite(near, frames...)
		b.read(far, frames...)
		if o := <-writing.c; o.err != nil {
			b.Errorf("the write gave %v", o)
		}
		if d := time.Since(began); d != 5*ms {
			b.Errorf("five frames took %v, not a latency each", d)
		}
	}, inmem.WithBuffer(1))
}
