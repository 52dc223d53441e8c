package link

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// An outcome is what a model says of one packet.
type outcome struct {
	fate fate
	sent time.Duration
	due  time.Duration
}

// run sends n packets of 1500 octets, one each interval.
func runModel(seed uint64, d Direction, c Conditions, n int, interval time.Duration) []outcome {
	m := newModel(seed, d)
	outcomes := make([]outcome, n)
	for i := range outcomes {
		o := &outcomes[i]
		o.sent = time.Duration(i) * interval
		o.fate, o.due = m.next(&c, o.sent, 1500, false)
	}
	return outcomes
}

// indices returns the numbers of the packets with the given fate.
func indices(outcomes []outcome, of fate) (numbers []int) {
	for i, o := range outcomes {
		if o.fate == of {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// TestPerfectLink expects the zero Conditions to deliver everything at once.
func TestPerfectLink(t *testing.T) {
	t.Parallel()
	for i, o := range runModel(1, AToB, Conditions{}, 1000, time.Microsecond) {
		if o.fate != delivered || o.due != o.sent {
			t.Errorf("packet %d, sent at %v, has the fate %d and arrives at %v", i, o.sent, o.fate, o.due)
		}
	}
}

// TestDelay expects half of the RTT, jitter of half of its own either way whose
// mean is nothing, and no packet that overtakes another.
func TestDelay(t *testing.T) {
	t.Parallel()
	c := Conditions{RTT: 20 * time.Millisecond, Jitter: 4 * time.Millisecond}
	// Far enough apart for none to wait for the one before.
	least, most, total := time.Hour, time.Duration(0), time.Duration(0)
	const n = 10000
	for _, o := range runModel(1, AToB, c, n, 5*time.Millisecond) {
		delay := o.due - o.sent
		least, most, total = min(least, delay), max(most, delay), total+delay
	}
	if least < 8*time.Millisecond || least > 8100*time.Microsecond || most > 12*time.Millisecond || most < 11900*time.Microsecond {
		t.Errorf("delays are from %v to %v, not from 8 to 12 ms", least, most)
	}
	if mean := total / n; mean < 9900*time.Microsecond || mean > 10100*time.Microsecond {
		t.Errorf("the mean delay is %v, not 10 ms", mean)
	}

	last := time.Duration(0)
	for i, o := range runModel(1, AToB, c, n, 10*time.Microsecond) {
		if o.due < last {
			t.Fatalf("packet %d arrives at %v, before the one ahead, at %v", i, o.due, last)
		}
		last = o.due
	}
}

// TestRate expects packets that come faster than the line carries them to leave one
// after the other at the rate, and one that finds the line free not to wait.
func TestRate(t *testing.T) {
	t.Parallel()
	c := Conditions{Rate: 12e6, Queue: time.Minute, RTT: 2 * time.Millisecond} // 1 ms for a packet
	m := newModel(1, AToB)
	for i := range 1000 {
		want := time.Duration(i+1)*time.Millisecond + time.Millisecond
		if what, due := m.next(&c, 0, 1500, false); what != delivered || due != want {
			t.Fatalf("packet %d has the fate %d and arrives at %v, not %v", i, what, due, want)
		}
	}
	if _, due := m.next(&c, 2*time.Second, 750, false); due != 2*time.Second+1500*time.Microsecond {
		t.Errorf("half a packet on a free line arrives at %v, not after half a millisecond and the delay", due)
	}
}

// TestQueue expects a packet to be dropped if, and only if, it would have to
// wait longer than Queue, and the documented defaults of that.
func TestQueue(t *testing.T) {
	t.Parallel()
	outcomes := runModel(1, AToB, Conditions{Rate: 12e6, Queue: 10 * time.Millisecond}, 100, 0)
	// One on the line and ten that wait, of which the last waits for all 10 ms.
	if got := len(indices(outcomes, delivered)); got != 11 || outcomes[10].fate != delivered || outcomes[11].fate != overflowed {
		t.Errorf("%d of 100 packets were delivered, not the first 11", got)
	}
	for _, test := range []struct {
		c    Conditions
		want time.Duration
	}{
		{Conditions{RTT: time.Second}, 0},
		{Conditions{Rate: 1e9}, 20 * time.Millisecond},
		{Conditions{Rate: 1e9, RTT: 80 * time.Millisecond}, 80 * time.Millisecond},
		{Conditions{Rate: 1e6}, 16 * 12 * time.Millisecond},
		{Conditions{Rate: 1e6, MTU: 1280}, 16 * 10240 * time.Microsecond},
		{Conditions{Rate: 1e6, Queue: time.Millisecond}, time.Millisecond},
	} {
		if got := test.c.queue(); got != test.want {
			t.Errorf("the queue of %v is %v, not %v", test.c, got, test.want)
		}
	}
}

// TestLoss expects as many packets to be lost as the share says, within the 99 %
// interval of the binomial distribution for nine of ten seeds at least, and
// none that overflowed to count.
func TestLoss(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0, 0.001, 0.005, 0.02, 0.1, 0.5, 1} {
		outside := 0
		const n, seeds = 20000, 20
		for seed := range uint64(seeds) {
			got := len(indices(runModel(seed, AToB, Conditions{Loss: share}, n, 0), lost))
			if margin := 2.576 * math.Sqrt(n*share*(1-share)); math.Abs(float64(got)-n*share) > margin+1 {
				outside++
			}
		}
		if outside > seeds/10 {
			t.Errorf("at a loss of %v, %d of %d seeds are outside of their interval", share, outside, seeds)
		}
	}
}

// TestReorder expects the share of packets that may be overtaken, some that were, none that
// is later than documented, and no delay for those behind.
func TestReorder(t *testing.T) {
	t.Parallel()
	for _, rtt := range []time.Duration{0, 40 * time.Millisecond} {
		c := Conditions{RTT: rtt, Reorder: 0.1}
		outcomes := runModel(1, AToB, c, 10000, 10*time.Microsecond)
		overtaken, bound := 0, max(rtt/4, time.Millisecond)
		for i, o := range outcomes {
			extra := o.due - o.sent - rtt/2
			if o.fate == delivered && extra != 0 {
				t.Fatalf("packet %d was delayed by %v", i, extra)
			}
			if extra < 0 || extra > bound {
				t.Fatalf("reordered packet %d was delayed by %v", i, extra)
			}
			if i+1 < len(outcomes) && outcomes[i+1].due < o.due {
				overtaken++
			}
		}
		picked := len(indices(outcomes, reordered))
		if picked < 900 || picked > 1100 || overtaken < picked/2 {
			t.Errorf("of 10000 packets %d may be overtaken, and %d were", picked, overtaken)
		}
	}
}

// TestSeed expects what is random to be the same for the same seed, whatever
// the other conditions are and whatever else is dropped, and to differ between
// seeds and directions.
func TestSeed(t *testing.T) {
	t.Parallel()
	const n = 5000
	of := func(seed uint64, d Direction, c Conditions) []int {
		return indices(runModel(seed, d, c, n, 0), lost)
	}
	base := of(7, AToB, Conditions{Loss: 0.1})
	worse := of(7, AToB, Conditions{Loss: 0.1, RTT: time.Second, Jitter: time.Second, Reorder: 0.5, Rate: 1e6, Queue: time.Minute})
	if !slices.Equal(base, worse) {
		t.Error("other conditions change what is lost")
	}
	if slices.Equal(base, of(8, AToB, Conditions{Loss: 0.1})) {
		t.Error("two seeds lose the same")
	}
	if slices.Equal(base, of(7, BToA, Conditions{Loss: 0.1})) {
		t.Error("the two directions lose the same")
	}

	m, c := newModel(7, AToB), Conditions{Loss: 0.1}
	var got []int
	for i := range n {
		block := i%3 == 0
		what, _ := m.next(&c, 0, 1500, block)
		if block && what != blocked {
			t.Fatalf("packet %d has the fate %d, not that of a blocked direction", i, what)
		}
		if what == lost {
			got = append(got, i)
		}
	}
	want := slices.DeleteFunc(slices.Clone(base), func(i int) bool { return i%3 == 0 })
	if !slices.Equal(got, want) {
		t.Error("packets that are blocked change which others are lost")
	}
}

// TestWake expects the estimate to come near the faster ones of what is observed within eight of
// them, one of a thread that found no processor to change nothing, and one in time to end
// an estimate that is too high.
func TestWake(t *testing.T) {
	t.Parallel()
	var w wake
	for n := range 8 {
		if w.latency != 0 {
			t.Errorf("after %d wake-ups the estimate is %v", n, w.latency)
		}
		w.observe(time.Duration(50+n) * time.Microsecond)
	}
	if w.latency != 50*time.Microsecond {
		t.Errorf("after 8 wake-ups the estimate is %v, not 50 µs", w.latency)
	}
	for range 20 {
		w.observe(10 * time.Millisecond)
	}
	w.observe(time.Microsecond)
	if w.latency != time.Microsecond {
		t.Errorf("after one in time the estimate is %v", w.latency)
	}

	draw := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		w.observe(40*time.Microsecond + time.Duration(draw.IntN(20000)))
		if i%4 == 0 {
			w.observe(10 * time.Millisecond)
		}
	}
	if w.latency < 38*time.Microsecond || w.latency > 48*time.Microsecond {
		t.Errorf("the estimate is %v, not about 40 µs", w.latency)
	}
	for range 100 {
		w.observe(-time.Second)
	}
	if w.latency != 0 {
		t.Errorf("of a thread that is never late the estimate is %v", w.latency)
	}
}
