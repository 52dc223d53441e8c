package inmem_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// exchanged are frames of 0 to 5 bytes, 11 in all.
var exchanged = []string{"abc", "", "defgh", "i", "jk", ""}

// arriveBefore returns how many of the frames end within the first n bytes: all
// that arrives before something happens there. If n is 0 that is none.
func arriveBefore(n int) (frames int) {
	for sum, end := 0, false; frames < len(exchanged); frames++ {
		sum += len(exchanged[frames])
		if end || sum > n || n == 0 {
			return frames
		}
		end = sum == n
	}
	return frames
}

// TestCutAfter expects, for every n, exactly the frames inside the first n bytes
// to arrive and both ends to see the connection break; in batches and one by
// one, with and without latency, and on a connection that was dialled later
// (F22).
func TestCutAfter(t *testing.T) {
	for n := range 13 {
		for _, variant := range []string{"one by one", "batch", "latency", "before the dial", "seed"} {
			var opts []inmem.Option
			if variant == "seed" {
				opts = append(opts, inmem.WithSeed(3))
			}
			t.Run(fmt.Sprint(n, " ", variant), func(t *testing.T) {
				inBubble(t, func(b *lab) {
					if variant == "before the dial" {
						b.CutAfter("a", "b", n)
					}
					near, far := b.connect()
					if variant == "latency" {
						b.SetLatency(5 * ms)
					}
					b.CutAfter("a", "b", n)
					if variant == "one by one" {
						for _, f := range exchanged {
							_ = near.WriteFrames([][]byte{[]byte(f)})
						}
					} else {
						b.write(near, exchanged...)
					}
					b.read(far, exchanged[:arriveBefore(n)]...)
					if n > 11 {
						b.write(far, "back")
						b.read(near, "back")
						return
					}
					if o := <-b.startRead(far).c; !isReset(o.err) {
						b.Errorf("then the receiver got %v", o)
					}
					if o := <-b.startRead(near).c; !isReset(o.err) {
						b.Errorf("the sender got %v", o)
					}
					if near.WriteFrames([][]byte{{}}) == nil || far.WriteFrames([][]byte{{}}) == nil {
						b.Error("a write succeeded on a connection that was cut")
					}
					near, far = b.connect()
					b.write(near, "the next connection is well")
					b.read(far, "the next connection is well")
				}, opts...)
			})
		}
	}
}

// TestCutAfterFreesBlockedWriter expects a writer that waits for room to learn
// of the cut.
func TestCutAfterFreesBlockedWriter(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, _ := b.connect()
		b.SetLatency(5 * ms)
		b.CutAfter("a", "b", 10)
		writing := b.startWrite(near, string(make([]byte, 60<<10)), string(make([]byte, 60<<10)))
		if o := b.ends(writing, 5*ms, "the write"); !isReset(o.err) {
			b.Errorf("the write gave %v", o)
		}
	})
}

// TestStallAfter expects, for every n, exactly the frames inside the first n
// bytes to arrive, nothing more until the heal, and then all the rest.
func TestStallAfter(t *testing.T) {
	for n := range 13 {
		for _, latency := range []time.Duration{0, 5 * ms} {
			for _, opts := range [][]inmem.Option{nil, {inmem.WithSeed(3)}} {
				inBubble(t, func(b *lab) {
					b.StallAfter("a", "b", n)
					near, far := b.connect()
					b.SetLatency(latency)
					b.write(near, exchanged[:3]...)
					b.write(near, exchanged[3:]...)
					_ = near.CloseWithError(5, "bye")
					arrive := arriveBefore(n)
					b.read(far, exchanged[:arrive]...)
					if n <= 11 {
						reading := b.startRead(far)
						b.until(time.Minute)
						b.stillPending(reading, "a read past the stall")
						b.Heal("a", "b")
						o := <-reading.c
						if arrive < len(exchanged) && (o.err != nil || o.frame != exchanged[arrive]) {
							b.Errorf("after the stall the read gave %v", o)
						}
						arrive++
					}
					b.read(far, exchanged[min(arrive, len(exchanged)):]...)
					if n < 11 || n > 11 {
						_, err := far.ReadFrame(1)
						if ce, ok := errors.AsType[*transport.CloseError](err); !ok || ce.Code != 5 {
							b.Errorf("n %d: the close arrived as %v", n, err)
						}
					}
				}, opts...)
			}
		}
	}
}

// TestHealForgetsPlans expects nothing of what was planned to happen after a
// heal, nor what was planned and is under way.
func TestHealForgetsPlans(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.SetLatency(5 * ms)
		b.StallAfter("a", "b", 2)
		b.write(near, "the stall is under way")
		b.CutAfter("a", "b", 2)
		b.CorruptNext("a", "b", 2)
		b.Heal("b", "a")
		b.write(near, "no cut")
		b.read(far, "the stall is under way", "no cut")
		b.at(5*ms, "the last frame")
		b.CutAfter("a", "b", 2)
		b.CutAfter("a", "b", -1)
		b.write(near, "no cut either")
		b.read(far, "no cut either")
	})
}

// TestCorruptNext walks over all bits of an exchange, there and back, and
// expects just that one to flip; or, with integrity, exactly the frames before
// to arrive and the connection to break (F21).
func TestCorruptNext(t *testing.T) {
	exchange := func(b *lab, bit int, each func(got []byte, err error, before int)) {
		near, far := b.connect()
		b.CorruptNext("a", "b", bit)
		before := 0
		for _, f := range exchanged {
			if near.WriteFrames([][]byte{[]byte(f)}) != nil {
				return
			}
			got, err := far.ReadFrame(100)
			each(got, err, before)
			before += len(f)
			if err != nil {
				return
			}
			b.write(far, "back")
			b.read(near, "back")
		}
	}
	const all = 11 * 8
	for bit := range all + 1 {
		inBubble(t, func(b *lab) {
			i := 0
			exchange(b, bit, func(got []byte, err error, before int) {
				want := []byte(exchanged[i])
				i++
				n, at := flipped(got, want)
				hit := bit >= before*8 && bit < (before+len(want))*8
				if err != nil || hit && (n != 1 || at != bit-before*8) || !hit && n != 0 {
					b.Errorf("bit %d: frame %d arrived as %q, error %v", bit, i, got, err)
				}
			})
			if i != len(exchanged) {
				b.Errorf("bit %d: %d frames arrived", bit, i)
			}
		}, inmem.WithoutIntegrity())
		inBubble(t, func(b *lab) {
			arrived, broken := 0, false
			exchange(b, bit, func(_ []byte, err error, _ int) {
				if err != nil {
					broken = isReset(err)
				} else {
					arrived++
				}
			})
			want, sum := 0, 0
			for ; want < len(exchanged); want++ {
				if sum += len(exchanged[want]); bit < sum*8 {
					break
				}
			}
			if arrived != want || broken != (bit < all) {
				b.Errorf("bit %d: %d frames arrived, not %d; broken: %v", bit, arrived, want, broken)
			}
		})
	}
}

// TestRefuseDials expects dials of one direction to fail after a round trip, and
// those of the other and what is connected to be well.
func TestRefuseDials(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.listen("a")
		b.SetLatency(5 * ms)
		b.RefuseDials("a", "b")
		if o := b.ends(b.startDial(b.Context(), "a", "b"), 10*ms, "the dial"); o.err == nil ||
			o.err.Error() != "inmem to  (b): dial: connection refused" {
			b.Errorf("a dial that is refused gave %v", o)
		}
		for _, from := range []string{"b", "c"} {
			to := map[string]string{"b": "a", "c": "b"}[from]
			if o := <-b.startDial(b.Context(), from, to).c; o.err != nil {
				b.Errorf("a dial from %s to %s gave %v", from, to, o)
			}
		}
		b.HealAll()
		if o := <-b.startDial(b.Context(), "a", "b").c; o.err == nil {
			b.Error("a heal has allowed dials")
		}
		b.write(near, "connected")
		b.read(far, "connected")
		b.AllowDials("a", "b")
		if o := <-b.startDial(b.Context(), "a", "b").c; o.err != nil {
			b.Errorf("a dial that is allowed again gave %v", o)
		}
	})
}

// TestAcceptDelay expects connections to be accepted so much later, with what
// has been sent to them, and one that nobody accepted before the listener was
// closed to end at once.
func TestAcceptDelay(t *testing.T) {
	inBubble(t, func(b *lab) {
		b.SetAcceptDelay("b", 30*ms)
		dial := func() transport.Conn {
			c, err := b.Node("a").Dial(b.Context(), transport.Peer{Addr: "b"})
			if err != nil {
				b.Fatal(err)
			}
			return c
		}
		first := dial()
		b.write(first, "early")
		b.until(20 * ms)
		second := dial()
		b.at(20*ms, "a dial")
		for _, at := range []time.Duration{30 * ms, 50 * ms} {
			c, err := b.listener.Accept(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			b.at(at, "an accept")
			if at == 30*ms {
				b.read(c, "early")
			}
		}
		third := dial()
		if err := b.listener.Close(); err != nil {
			b.Error(err)
		}
		if _, err := third.ReadFrame(1); err == nil || isReset(err) {
			b.Errorf("the connection that was not accepted ended with %v", err)
		}
		b.at(50*ms, "its end")
		b.listener = b.listen("b")
		b.SetAcceptDelay("b", 0)
		b.connect()
		b.at(50*ms, "an accept without delay")
		_ = second
	})
}

// TestCrashWhileAccepting expects the crash of a node to end the connections
// that it was slow to accept.
func TestCrashWhileAccepting(t *testing.T) {
	inBubble(t, func(b *lab) {
		b.SetAcceptDelay("b", time.Hour)
		c, err := b.Node("a").Dial(b.Context(), transport.Peer{Addr: "b"})
		if err != nil {
			b.Fatal(err)
		}
		b.Crash("b")
		if o := b.ends(b.startRead(c), 0, "the read"); !isReset(o.err) {
			b.Errorf("the read gave %v", o)
		}
	})
}
