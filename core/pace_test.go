package core

import (
	"math/rand/v2"
	"testing"
)

// TestPaceNeverStops plays senders and peers of every kind against the pace:
// whenever nothing may be sent an acknowledgement is to come, and what is under way
// stays within its bounds (W44).
func TestPaceNeverStops(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 44))
		p := pace{window: firstPace, flat: flatAlone}
		now := int64(1)
		var marks []uint64
		for range 2000 {
			now += r.Int64N(1 << r.IntN(31))
			switch {
			case r.IntN(3) > 0 && p.room() > 0:
				quota := p.quota((1 + r.IntN(fragmentsPerWrite)) * maxSmall)
				if quota <= 0 {
					t.Fatalf("seed %d: there is room for %d bytes, and the quota is %d: %+v", seed, p.room(), quota, p)
				}
				p.passed = r.IntN(5) == 0
				if p.wrote(1+r.IntN(quota+maxSmall), now) {
					marks = append(marks, p.sent)
				}
			case len(marks) > 0 && r.IntN(2) == 0:
				k := r.IntN(len(marks))
				if !p.ack(marks[k], now) {
					t.Fatalf("seed %d: the acknowledgement of a mark is wrong: %+v", seed, p)
				}
				marks = marks[k+1:]
			case r.IntN(20) == 0:
				total := p.acked + r.Uint64N(p.sent-p.acked+1)
				if !p.ack(total, now) {
					t.Fatalf("seed %d: an acknowledgement that nobody asked for is wrong: %+v", seed, p)
				}
				for len(marks) > 0 && marks[0] <= total {
					marks = marks[1:]
				}
			}
			if p.room() <= 0 && len(marks) == 0 {
				t.Fatalf("seed %d: nothing may be sent, and nothing is to be acknowledged: %+v", seed, p)
			}
			if under := p.sent - p.acked; under > maxPace+fragmentsPerWrite*maxSmall+2*maxSmall {
				t.Fatalf("seed %d: %d bytes are under way", seed, under)
			}
		}
	}
}

// TestPaceIsMeasuredAlone holds that the round trip that others are compared with
// is not measured behind what is under way already. It was, where a sender did not
// fill its window when the measurement was due.
func TestPaceIsMeasuredAlone(t *testing.T) {
	p := pace{window: maxPace, flat: flatAlone, known: true, fastest: 1_000_000, took: 2 * ackEvery}
	now := int64(forgetAfter + 1)
	for range 16 {
		p.wrote(128<<10, now) // half a window, which is a part: it is marked
	}
	for range 15 {
		p.wrote(128<<10, now)
	}
	if !p.ack(p.marked, now+1_000_000) || p.known {
		t.Fatalf("the round trip is not to be measured anew: %+v", p)
	}
	for range 3 {
		before := p.sent - p.acked
		if p.wrote(p.quota(128<<10), now) && p.timed != 0 && before >= maxSmall {
			t.Fatalf("it is measured behind %d bytes", before)
		}
		p.ack(p.sent, now)
	}
	if !p.known {
		t.Errorf("it was not measured: %+v", p)
	}
}

// TestPaceMarksBehindMessagesThatFillNoPart holds that a part of a window is marked also
// where messages do not fill it to the byte, and that the fragment which is measured
// alone grows by one message at most. Streams of 1 KiB sent a whole window and
// waited for a round trip, and were compared with what took twice as long.
func TestPaceMarksBehindMessagesThatFillNoPart(t *testing.T) {
	const message = 1 << 10
	p := pace{window: minPace, flat: flatAlone, known: true, fastest: 1_000_000, took: 1_000_000}
	if n := p.quota(maxSmall) - message/2; !p.wrote(n, 1) {
		t.Errorf("no mark behind %d of a window of %d bytes: %+v", n, minPace, p)
	}
	p = pace{window: minPace, flat: flatAlone}
	n := p.quota(maxSmall) - message/2
	if p.wrote(n, 1); p.room() > message {
		t.Errorf("behind the %d bytes that are measured alone there is room for %d", n, p.room())
	}
}

// TestPaceAsksByTime holds that acknowledgements of bulk are a while apart, as far as a
// window lets them be, and no more than sixteen in a round trip: where one takes
// 0.8 ms and more, what goes out at once is a sixteenth of the window.
func TestPaceAsksByTime(t *testing.T) {
	for took, acks := range map[int64]uint64{0: 1, ackEvery / 2: 1, 2 * ackEvery: 2, 4 * ackEvery: 4, 16 * ackEvery: 16, 1000 * ackEvery: 16} {
		p := pace{window: maxPace, flat: flatAlone, known: true, fastest: 1, took: took}
		var marks, writes uint64
		for ; p.room() > 0; writes++ {
			n := p.quota(fragmentsPerWrite * maxSmall)
			if uint64(n) > max(maxPace/acks, maxSmall) {
				t.Errorf("%d bytes go out at once where a round trip takes %d ns", n, took)
			}
			if p.wrote(n, 1) {
				marks++
			}
		}
		if marks != acks {
			t.Errorf("%d marks in a window where a round trip takes %d ns, want %d; %d writes", marks, took, acks, writes)
		}
	}
}

// TestPaceGrowsForTwoAnswersInTime holds that one answer that is early by chance, as
// where the sender had a pause, makes no queue. Until one was late the window doubles.
func TestPaceGrowsForTwoAnswersInTime(t *testing.T) {
	p := pace{window: minPace, flat: flatAlone, known: true, fastest: 1_000_000}
	for range 2 {
		p.full = true
		p.adapt(1_000_000, 2_000_000)
	}
	if p.window != 4*minPace {
		t.Errorf("two answers in time at first, and the window is %d bytes, want %d", p.window, 4*minPace)
	}
	p.window, p.settled = minPace, true
	for i, took := range []int64{1_000_000, 3_000_000, 1_000_000, 3_000_000} {
		p.full = true
		if p.adapt(took, 2_000_000); p.window != minPace {
			t.Fatalf("answer %d: the window has grown to %d bytes", i, p.window)
		}
	}
	for range 2 {
		p.full = true
		p.adapt(1_000_000, 2_000_000)
	}
	if p.window == minPace {
		t.Error("two answers in time, and the window has not grown")
	}
}
