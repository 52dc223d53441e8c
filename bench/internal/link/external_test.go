//go:build external && linux

package link_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// The tests in these files are what the emulated link is checked against: sockets
// of the standard library and nothing else of this project. They need the right
// to make network namespaces, and time that passes.

// patience ends a test that waits for what does not come.
const patience = 20 * time.Second

// TestRTT expects echoes over TCP and UDP, IPv4 and IPv6, to take the RTT to
// within 5 %, from 2 ms up.
//
//nolint:tparallel // beside other tests its times would not be its own
func TestRTT(t *testing.T) {
	for _, rtt := range []time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		for _, v6 := range []bool{false, true} {
			for _, network := range []string{"tcp", "udp"} {
				t.Run(fmt.Sprintf("%v/%s/v6=%v", rtt, network, v6), func(t *testing.T) {
					t.Parallel()
					l := newLink(t, link.Conditions{RTT: rtt})
					addr := l.A().Addr()
					if v6 {
						addr = l.A().Addr6()
					}
					checkRTT(t, dialEcho(t, l, network, addr), rtt)
				})
			}
		}
	}
}

func checkRTT(t *testing.T, c net.Conn, rtt time.Duration) {
	echo(t, c) // warms up what there is
	rounds := max(20, int(time.Second/rtt))
	took := make([]time.Duration, rounds)
	for i := range took {
		began := time.Now()
		echo(t, c)
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	// Without jitter the least is that of the link: whatever else the machine does
	// makes the others longer.
	t.Logf("least %v, median %v, 90 %% %v", took[0], took[rounds/2], took[rounds*9/10])
	if off := math.Abs(float64(took[0]-rtt)) / float64(rtt); off > 0.05 {
		t.Errorf("with an RTT of %v, an echo takes %v", rtt, took[0])
	}
}

// TestJitter expects round trips to stray from the RTT either way, by no more
// than the jitter, and datagrams to keep their order.
func TestJitter(t *testing.T) {
	const rtt, jitter = 20 * time.Millisecond, 10 * time.Millisecond
	l := newLink(t, link.Conditions{RTT: rtt, Jitter: jitter})
	c := dialEcho(t, l, "udp", l.A().Addr())
	var took []time.Duration
	for range 60 {
		began := time.Now()
		echo(t, c)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	// A busy machine makes the longer ones longer, so little is asked of those.
	if took[0] < rtt-jitter || took[0] > rtt-jitter/3 || took[45] < rtt || took[30] > rtt+jitter {
		t.Errorf("with an RTT of %v and a jitter of %v, round trips take %v, %v, %v", rtt, jitter, took[0], took[30], took[45])
	}
	if got := sendNumbered(t, l, link.Conditions{RTT: rtt, Jitter: jitter}, 500); !slices.IsSorted(got) || len(got) != 500 {
		t.Errorf("%d of 500 datagrams arrived, in order: %v", len(got), slices.IsSorted(got))
	}
}

// TestRateTCP expects the payload of one TCP connection to arrive at the rate, to within
// 5 %, less the headers.
func TestRateTCP(t *testing.T) {
	const rate = 10e6
	// A queue and a window in which the line finds enough while the ends have to wait
	// for a processor.
	l := newLink(t, link.Conditions{RTT: 10 * time.Millisecond, Rate: rate, Queue: 200 * time.Millisecond})
	from, to := connect(t, l)
	if err := to.(*net.TCPConn).SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	go func() {
		data := make([]byte, 64<<10)
		for {
			if _, err := from.Write(data); err != nil {
				return
			}
		}
	}()
	// The median of quarters of a second: where a reader waits for a processor, one of
	// them is slow and another fast.
	var quarters []float64
	for range 12 {
		began := time.Now()
		read(t, to, rate/8/4)
		quarters = append(quarters, rate/4/time.Since(began).Seconds())
	}
	slices.Sort(quarters)
	got := quarters[6]
	// Of 1500 octets 20 are of the header of IP, 32 of that of TCP with its timestamp.
	const want = rate * 1448 / 1500
	t.Logf("%.2f Mbit/s of payload, %.2f possible", got/1e6, want/1e6)
	if math.Abs(got-want) > want/20 {
		t.Errorf("%.2f Mbit/s of payload crossed a line of %.2f Mbit/s", got/1e6, rate/1e6)
	}
}

// TestRateUDP expects datagrams that were sent at once to arrive at the rate, to
// within 5 %.
func TestRateUDP(t *testing.T) {
	const rate, n = 5e6, 1200
	l := newLink(t, link.Conditions{Rate: rate, Queue: 5 * time.Second})
	from, to := connectUDP(t, l)
	for i := range n {
		write(t, from, numbered(i, 1500-28))
	}
	// The median over pieces of 120 ms, by their numbers: a reader that
	// waits for a processor is late for some, and may lose some, perhaps the last.
	const piece = 50
	buf := make([]byte, 2048)
	readPacket(t, to, buf)
	began, first := time.Now(), binary.BigEndian.Uint32(buf)
	var pieces []float64
	for last := first; last < n-batchSize; {
		readPacket(t, to, buf)
		last = binary.BigEndian.Uint32(buf)
		if last-first >= piece {
			pieces = append(pieces, float64(last-first)*1500*8/time.Since(began).Seconds())
			began, first = time.Now(), last
		}
	}
	slices.Sort(pieces)
	got := pieces[len(pieces)/2]
	t.Logf("%.2f Mbit/s", got/1e6)
	if math.Abs(got-rate) > rate/20 {
		t.Errorf("%.2f Mbit/s crossed a line of %.2f Mbit/s", got/1e6, rate/1e6)
	}
}

// TestQueueOverflows expects a burst that is larger than the queue to lose its
// end, and the counters to say so.
func TestQueueOverflows(t *testing.T) {
	// 10 ms are 25 packets of 500 octets at 10 Mbit/s, behind the one on the line.
	l := newLink(t, link.Conditions{Rate: 10e6, Queue: 10 * time.Millisecond})
	from, to := connectUDP(t, l)
	for i := range 1000 {
		write(t, from, numbered(i, 500-28))
	}
	if err := l.Set(link.Conditions{}); err != nil { // the last one is not to be dropped
		t.Fatal(err)
	}
	got := readNumbered(t, from, to)
	s := stats(t, l, link.BToA)
	if len(got) < 26 || len(got) > 500 || got[0] != 0 || got[25] != 25 || s.Overflowed != uint64(1000-len(got)) {
		t.Errorf("of 1000 packets at once %d arrived, and %+v", len(got), s)
	}
}

// TestLossUDP expects the share of datagrams that are lost to be within its 99 %
// binomial interval, the same ones for the same seed, and the counters to agree.
func TestLossUDP(t *testing.T) {
	for _, loss := range []float64{0.005, 0.02} {
		const n = 6000
		var first []int
		for range 2 {
			c := link.Conditions{Loss: loss}
			l := newLink(t, c)
			got := sendNumbered(t, l, c, n)
			if first == nil {
				first = got
			} else if !slices.Equal(got, first) {
				t.Errorf("with one seed, first %d datagrams arrived and then %d others", len(first), len(got))
			}
			gone := float64(n - len(got))
			t.Logf("loss %v: %v of %d", loss, gone, n)
			if margin := 2.576 * math.Sqrt(n*loss*(1-loss)); math.Abs(gone-n*loss) > margin {
				t.Errorf("with a loss of %v, %v of %d are lost, not %v±%.0f", loss, gone, n, n*loss, margin)
			}
			// There is one more for each batch.
			s := stats(t, l, link.BToA)
			if s.Lost != uint64(gone) || s.Sent != n+n/batchSize || s.Delivered != s.Sent-s.Lost || s.Overrun != 0 {
				t.Errorf("%d datagrams arrived, and %+v", len(got), s)
			}
		}
	}
}

// TestLossTCP expects TCP to lose as many packets as the share says, and nothing of
// what it carries.
func TestLossTCP(t *testing.T) {
	const loss = 0.02
	l := newLink(t, link.Conditions{RTT: time.Millisecond, Loss: loss})
	from, to := connect(t, l)
	const size = 4 << 20
	go func() {
		from.Write(make([]byte, size))
		from.Close()
	}()
	if n, err := io.Copy(io.Discard, to); n != size || err != nil {
		t.Errorf("%d of %d octets arrived, %v", n, size, err)
	}
	s := stats(t, l, link.BToA)
	n := float64(s.Sent)
	if margin := 2.576 * math.Sqrt(n*loss*(1-loss)); s.Sent < size/1500 || math.Abs(float64(s.Lost)-n*loss) > margin {
		t.Errorf("of %d packets %d are lost, not %v±%.0f", s.Sent, s.Lost, n*loss, margin)
	}
}

// TestReordering expects datagrams to arrive in another order, but all of them, where
// the link reorders.
func TestReordering(t *testing.T) {
	c := link.Conditions{RTT: 20 * time.Millisecond, Reorder: 0.1}
	l := newLink(t, c)
	const n = 2000
	got := sendNumbered(t, l, c, n)
	late := 0
	for i := 1; i < len(got); i++ {
		if got[i] < got[i-1] {
			late++
		}
	}
	s := stats(t, l, link.BToA)
	if len(got) != n || late < n/20 || s.Reordered < n/10-40 || s.Reordered > n/10+40 {
		t.Errorf("of %d datagrams %d arrived, %d after a later one, and %+v", n, len(got), late, s)
	}
}
