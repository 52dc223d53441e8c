package faulty_test

import (
	"context"
	"errors"
	"math/bits"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
)

// exchanged are frames of 0 to 5 bytes, 11 in all.
var exchanged = []string{"abc", "", "defgh", "i", "jk", ""}

// arriveBefore returns how many of the frames arrive before what happens at byte
// n.
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

// TestStall expects one direction to be held, with everything that is written
// while there is room, and to arrive in order after the heal.
func TestStall(t *testing.T) {
	eachWay(t, func(b *lab, d faulty.Direction) {
		from, to := b.way(d)
		b.Stall(d)
		b.write(from, "is held", "too")
		reading := startRead(to)
		b.write(to, "passes")
		b.read(from, "passes")
		other, otherFar := b.way(d)
		b.write(other, "a new connection is well")
		b.read(otherFar, "a new connection is well")
		b.until(time.Hour)
		b.pending(reading, "a read of a stalled connection")
		b.Heal()
		if r := b.ended(reading, "the read"); r.frame != "is held" {
			b.Errorf("after the stall the read gave %v", r)
		}
		b.read(to, "too")
		b.write(from, "well")
		b.read(to, "well")
		b.at(time.Hour, "the end of it")
	})
}

// TestPartition expects all that exists to be held and dials to wait, until the
// heal or their context.
func TestPartition(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		b.Partition()
		b.write(near, "there")
		b.write(far, "back")
		reading, readingFar := startRead(near), startRead(far)
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		dial := func(ctx context.Context) chan result {
			return start(func() (string, error) {
				c, err := b.Dial(ctx, transport.Peer{Name: "peer", Addr: "peer"})
				if err == nil {
					_ = c.CloseWithError(0, "")
				}
				return "", err
			})
		}
		patient := dial(b.Context())
		l, err := b.Listen(b.Context(), "node")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		dialled, err := b.peer.Dial(b.Context(), transport.Peer{Addr: "node"})
		if err != nil {
			b.Fatal(err)
		}
		accepted, err := l.Accept(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer accepted.CloseWithError(0, "")
		b.write(dialled, "knock")
		readingAccepted := startRead(accepted)
		r := b.ended(dial(ctx), "the dial")
		if de, ok := errors.AsType[*transport.DialError](r.err); !ok || de.Phase != transport.PhaseDial || !errors.Is(r.err, context.DeadlineExceeded) {
			b.Errorf("a dial through a partition gave %v", r.err)
		}
		b.pending(reading, "a read through a partition")
		b.pending(readingFar, "a read of the peer through a partition")
		b.pending(patient, "a dial through a partition")
		b.pending(readingAccepted, "a read of a connection that was accepted in a partition")
		b.Heal()
		if r := b.ended(reading, "the read"); r.frame != "back" {
			b.Errorf("after the partition the read gave %v", r)
		}
		if r := b.ended(readingFar, "the read"); r.frame != "there" {
			b.Errorf("after the partition the read gave %v", r)
		}
		if r := b.ended(readingAccepted, "the read"); r.frame != "knock" {
			b.Errorf("after the partition the read gave %v", r)
		}
		if r := b.ended(patient, "the dial"); r.err != nil {
			b.Errorf("after the partition the dial gave %v", r)
		}
	})
}

// TestCut expects reads and writes to fail at both ends: abruptly at the node,
// and at a peer whose transport is wrapped too.
func TestCut(t *testing.T) {
	inBubble(t, func(b *lab) {
		l, err := faulty.Wrap(b.peer).Listen(b.Context(), "wrapped")
		if err != nil {
			b.Fatal(err)
		}
		near, err := b.Dial(b.Context(), transport.Peer{Addr: "wrapped"})
		if err != nil {
			b.Fatal(err)
		}
		far, err := l.Accept(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		other, otherFar := b.connect()
		unread, unreadFar := b.connect()
		b.SetDirectionConditions(faulty.In, faulty.Conditions{Jitter: 1})
		reads := startRead(unread)
		b.write(unreadFar, "is read")
		b.ended(reads, "the read")
		b.write(unreadFar, "is read ahead, and lost")
		time.Sleep(ms)
		b.SetConditions(faulty.Conditions{})
		b.began = time.Now()
		defer func() {
			if r := b.ended(startRead(unread), "a read after the cut"); !isReset(r.err) {
				b.Errorf("a read after the cut gave %v", r)
			}
		}()
		b.SetDirectionConditions(faulty.Out, faulty.Conditions{Latency: time.Hour})
		b.write(near, "is lost")
		reading, readingFar, readingOther := startRead(near), startRead(far), startRead(otherFar)
		full := startWrite(near, string(make([]byte, 60<<10)), string(make([]byte, 60<<10)))
		synctest.Wait()
		b.Cut()
		for what, c := range map[string]chan result{"a read": reading, "the peer's read": readingFar, "a write": full} {
			if r := b.ended(c, what); !isReset(r.err) {
				b.Errorf("%s gave %v", what, r)
			}
		}
		if r := b.ended(readingOther, "the read of a peer that is not wrapped"); !isCut(r.err) {
			b.Errorf("the read of a peer that is not wrapped gave %v", r)
		}
		if err := other.WriteFrames(batch("x")); !isReset(err) {
			b.Errorf("a write after the cut gave error %v", err)
		}
		b.at(0, "all of it")
		for _, c := range []transport.Conn{near, far} {
			if err := c.CloseWithError(1, ""); err != nil {
				b.Error(err)
			}
			if _, err := c.ReadFrame(1); !errors.Is(err, net.ErrClosed) {
				b.Errorf("after CloseWithError a read gives error %v", err)
			}
		}
		_ = l.Close()
	})
}

// TestCutAfter expects, for every n, exactly the frames inside the first n bytes
// to arrive and then both ends to fail, on a connection that was dialled later
// too (F22).
func TestCutAfter(t *testing.T) {
	for n := range 13 {
		for _, latency := range []time.Duration{0, 5 * ms} {
			eachWay(t, func(b *lab, d faulty.Direction) {
				b.CutAfter(d, n)
				from, to := b.way(d)
				b.SetDirectionConditions(d, faulty.Conditions{Latency: latency})
				reading := startRead(to)
				b.write(from, exchanged[:3]...)
				_ = from.WriteFrames(batch(exchanged[3:]...))
				arrive := arriveBefore(n)
				for i := range arrive {
					if r := b.ended(reading, "the read"); r.err != nil || r.frame != exchanged[i] {
						b.Errorf("n %d: read %v, not %q", n, r, exchanged[i])
					}
					reading = startRead(to)
				}
				if n > 11 {
					b.pending(reading, "a read of a connection that was not cut")
					b.write(to, "back")
					b.read(from, "back")
					return
				}
				for _, r := range []result{b.ended(reading, "the read"), b.ended(startRead(from), "the sender's read")} {
					if !isReset(r.err) && !isCut(r.err) {
						b.Errorf("n %d: the end is %v", n, r)
					}
				}
				from, to = b.way(d)
				reading = startRead(to)
				b.write(from, "the next connection is well")
				if r := b.ended(reading, "the read"); r.err != nil {
					b.Errorf("the next connection gave %v", r)
				}
			})
		}
	}
}

// TestStallAfter expects, for every n, exactly the frames inside the first n
// bytes to arrive, nothing more until the heal, and then all the rest.
func TestStallAfter(t *testing.T) {
	for n := range 13 {
		eachWay(t, func(b *lab, d faulty.Direction) {
			b.StallAfter(d, n)
			from, to := b.way(d)
			b.write(from, exchanged...)
			arrive := arriveBefore(n)
			b.read(to, exchanged[:arrive]...)
			reading := startRead(to)
			b.until(time.Minute)
			b.pending(reading, "a read past the stall")
			b.Heal()
			if arrive < len(exchanged) {
				if r := b.ended(reading, "the read"); r.err != nil || r.frame != exchanged[arrive] {
					b.Errorf("n %d: after the stall the read gave %v", n, r)
				}
				b.read(to, exchanged[arrive+1:]...)
			} else {
				b.write(from, "next")
				b.ended(reading, "the read")
			}
		})
	}
}

// TestCorruptNext walks over all bits of an exchange and expects just that one
// to flip; or, with integrity, the frames before to arrive and the connection to
// break (F21).
func TestCorruptNext(t *testing.T) {
	const all = 11 * 8
	for bit := range all + 1 {
		for _, d := range directions {
			inBubble(t, func(b *lab) {
				b.CorruptNext(d, bit)
				from, to := b.way(d)
				before := 0
				for _, f := range exchanged {
					b.write(from, f)
					got, err := to.ReadFrame(100)
					n := 0
					for i := range got {
						if x := got[i] ^ f[i]; x != 0 {
							n += bits.OnesCount8(x)
							if at := (before+i)*8 + bits.TrailingZeros8(x); at != bit {
								b.Errorf("bit %d is flipped in place of %d", at, bit)
							}
						}
					}
					if hit := bit >= before*8 && bit < (before+len(f))*8; err != nil || hit != (n == 1) || n > 1 {
						b.Errorf("bit %d: %q arrived as %q, error %v", bit, f, got, err)
					}
					before += len(f)
				}
			}, faulty.WithoutIntegrity())
			inBubble(t, func(b *lab) {
				b.CorruptNext(d, bit)
				from, to := b.way(d)
				before := 0
				for _, f := range exchanged {
					b.write(from, f)
					r := b.ended(startRead(to), "the read")
					before += len(f)
					if bit >= before*8 {
						if r.err != nil || r.frame != f {
							b.Errorf("bit %d: %q arrived as %v", bit, f, r)
						}
						continue
					}
					want := map[faulty.Direction]string{
						faulty.In:  "faulty: a frame was corrupted",
						faulty.Out: `closed by the peer with code 999: "faulty: connection cut"`,
					}[d]
					if r.err == nil || r.err.Error() != want {
						b.Errorf("bit %d: the receiver got %v", bit, r)
					}
					if r := b.ended(startRead(from), "the sender's read"); !isCut(r.err) && (!isReset(r.err) || r.err.Error() != "faulty: connection reset") {
						b.Errorf("bit %d: the sender got %v", bit, r)
					}
					return
				}
			})
		}
	}
}

// TestHealForgetsPlans expects nothing of what was planned to happen after a
// heal.
func TestHealForgetsPlans(t *testing.T) {
	eachWay(t, func(b *lab, d faulty.Direction) {
		from, to := b.way(d)
		b.CutAfter(d, 2)
		b.StallAfter(d, 2)
		b.CorruptNext(d, 2)
		b.Heal()
		b.write(from, "well")
		b.read(to, "well")
		b.SetDirectionConditions(d, faulty.Conditions{Latency: 5 * ms})
		b.StallAfter(d, 2)
		reading := startRead(to)
		b.write(from, "the stall is under way")
		synctest.Wait()
		b.Heal()
		b.ended(reading, "the read")
		b.at(5*ms, "the read")
		b.SetConditions(faulty.Conditions{})
		b.CutAfter(d, 2)
		b.CutAfter(d, -1)
		b.write(from, "well")
		b.read(to, "well")
	})
}
