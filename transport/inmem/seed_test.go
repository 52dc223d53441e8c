package inmem_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// A trace is what happened in a network, with the instant.
type trace struct {
	mu     sync.Mutex
	events []event
}

type event struct {
	what string
	at   time.Duration
}

func (r *trace) addf(began time.Time, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event{fmt.Sprintf(format, args...), time.Since(began)})
}

// run lets five nodes, all connected to each other, send at random under bad
// conditions and through partitions, cuts and a crash, and records what arrives.
// busy adds more traffic between "0" and "1".
func run(t *testing.T, seed uint64, busy bool) (events []event) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := inmem.NewNetwork(inmem.WithSeed(seed))
		w := &workload{t: t, n: n, began: time.Now(), rng: rand.New(rand.NewPCG(seed, 1)), busy: busy}
		n.SetPathConditions("1", "2", inmem.Conditions{Latency: ms, Jitter: 3 * ms, Tail: 0.1, TailLatency: 20 * ms})
		n.SetPathConditions("2", "3", inmem.Conditions{Jitter: ms, Bandwidth: 100_000, Split: true})
		n.SetPathConditions("3", "4", inmem.Conditions{Merge: ms, Jitter: ms})
		w.run()
		events = w.events
	})
	return events
}

type workload struct {
	trace

	t     *testing.T
	n     *inmem.Network
	began time.Time
	rng   *rand.Rand
	busy  bool
	links [][2]transport.Conn
}

const labNodes = 5

func (w *workload) run() {
	for i := range labNodes {
		l, err := w.n.Node(fmt.Sprint(i)).Listen(w.t.Context(), "")
		if err != nil {
			w.t.Fatal(err)
		}
		go w.serve(i, l)
		defer func() { _ = l.Close() }()
	}
	for i := range labNodes {
		for j := range i {
			go w.dial(i, j)
		}
	}
	w.rest()
	for step := range 300 {
		w.step(step)
		time.Sleep(time.Duration(w.rng.IntN(1000)) * time.Microsecond)
	}
	w.n.HealAll()
	w.rest()
	w.mu.Lock()
	links := slices.Clone(w.links)
	w.mu.Unlock()
	// Those of which a busy run has more come last, to leave the others' time.
	slices.SortStableFunc(links, func(x, y [2]transport.Conn) int { return cmp.Compare(rank(x[0]), rank(y[0])) })
	for _, l := range links {
		_ = l[0].CloseWithError(0, "end")
		time.Sleep(ms) // closing many at one instant is the test's own doing
	}
	w.rest()
}

func (w *workload) rest() {
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

func (w *workload) serve(node int, l transport.Listener) {
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			return
		}
		w.addf(w.began, "%d accepts %v", node, c.Info().RemoteAddr)
		go w.read(c)
	}
}

func (w *workload) dial(i, j int) {
	c, err := w.n.Node(fmt.Sprint(i)).Dial(w.t.Context(), transport.Peer{Addr: fmt.Sprint(j)})
	w.addf(w.began, "%d dials %d: error %v", i, j, err)
	if err != nil {
		return
	}
	w.mu.Lock()
	w.links = append(w.links, [2]transport.Conn{c})
	w.mu.Unlock()
	w.read(c)
}

// read records the first frame of what arrives together, and answers it.
func (w *workload) read(c transport.Conn) {
	who := fmt.Sprintf("%v from %v", c.Info().LocalAddr, c.Info().RemoteAddr)
	for last := time.Duration(-1); ; {
		f, err := c.ReadFrame(1 << 20)
		if now := time.Since(w.began); now != last {
			w.addf(w.began, "%s: %q, error %v", who, f, err)
			last = now
		}
		if err != nil {
			_ = c.CloseWithError(0, "")
			return
		}
		if len(f) > 0 && f[0] != '!' {
			_ = c.WriteFrames([][]byte{[]byte("!" + string(f)), {}})
		}
	}
}

func (w *workload) step(step int) {
	synctest.Wait()
	a, b := fmt.Sprint(w.rng.IntN(labNodes)), fmt.Sprint(w.rng.IntN(labNodes))
	switch step {
	case 20:
		if w.busy {
			go w.dial(1, 0)
		}
	case 50:
		w.n.Partition("1", "2")
		w.n.Partition("3", "4")
		go w.dial(2, 1)
		go w.dial(4, 3)
	case 90:
		w.n.HealAll()
	case 120:
		w.n.Cut("2", "3")
	case 130:
		w.n.CutAfter("4", "0", 10)
	case 150:
		w.n.Crash("2")
	}
	w.mu.Lock()
	links := slices.Clone(w.links)
	w.mu.Unlock()
	slices.SortStableFunc(links, func(x, y [2]transport.Conn) int {
		return slices.Compare(names(x[0]), names(y[0]))
	})
	for _, l := range links {
		if !slices.Equal(names(l[0]), []string{a, b}) && (!w.busy || !slices.Equal(names(l[0]), []string{"1", "0"})) {
			continue
		}
		_ = l[0].WriteFrames([][]byte{[]byte(fmt.Sprint("step ", step)), []byte("!more")})
	}
}

func rank(c transport.Conn) int {
	if slices.Equal(names(c), []string{"1", "0"}) {
		return 1
	}
	return 0
}

func names(c transport.Conn) []string {
	i := c.Info()
	return []string{i.LocalAddr.String(), i.RemoteAddr.String()}
}

// TestSameSeedSameArrivals expects two runs under one seed to be equal in every
// instant, and those of another seed to differ.
func TestSameSeedSameArrivals(t *testing.T) {
	first := run(t, 1, false)
	if len(first) < 200 {
		t.Fatalf("only %d events", len(first))
	}
	for range 3 {
		if again := run(t, 1, false); !slices.Equal(first, again) {
			t.Fatal(difference(first, again))
		}
	}
	if slices.Equal(first, run(t, 2, false)) {
		t.Error("another seed gives the same arrivals")
	}
}

func difference(a, b []event) string {
	for i := range a {
		if i == len(b) || a[i] != b[i] {
			return fmt.Sprintf("event %d differs: %v and %v", i, a[i:min(i+3, len(a))], b[min(i, len(b)):min(i+3, len(b))])
		}
	}
	return "the second run has more events"
}

// TestOneArrivalPerInstant expects no two arrivals of a network with a seed to
// share an instant, at a heal, a cut and simultaneous dials neither.
func TestOneArrivalPerInstant(t *testing.T) {
	for seed := range uint64(5) {
		seen := make(map[time.Duration]string)
		for _, e := range run(t, seed, true) {
			if other, ok := seen[e.at]; ok && e.at > 0 {
				t.Errorf("seed %d: at %v %s and %s", seed, e.at, other, e.what)
			}
			seen[e.at] = e.what
		}
	}
}

// TestPathsAreIndependent expects more traffic and connections between two nodes to
// leave the arrivals of all others where they were.
func TestPathsAreIndependent(t *testing.T) {
	others := func(events []event) []event {
		return slices.DeleteFunc(events, func(e event) bool {
			return slices.ContainsFunc([]string{"0 from 1", "1 from 0", "1 dials 0", "0 accepts 1"}, func(between string) bool {
				return strings.HasPrefix(e.what, between)
			})
		})
	}
	quiet, busy := run(t, 1, false), run(t, 1, true)
	if len(busy) < len(quiet)+100 {
		t.Fatalf("the traffic did not grow: %d and %d events", len(quiet), len(busy))
	}
	if q, b := others(quiet), others(busy); !slices.Equal(q, b) {
		t.Error(difference(q, b))
	}
}

// TestPathsDiffer expects paths under the same conditions, and the two
// directions of one, to have delays of their own.
func TestPathsDiffer(t *testing.T) {
	inBubble(t, func(b *lab) {
		near, far := b.connect()
		other, otherFar := dialTo(b, b.Node("c"), b.listener)
		again, againFar := b.connect()
		b.SetConditions(inmem.Conditions{Jitter: time.Second})
		seen := make(map[time.Duration]bool)
		for _, way := range [][2]transport.Conn{{near, far}, {far, near}, {other, otherFar}, {again, againFar}} {
			seen[delays(b, way[0], way[1], 1)[0].Round(ms)] = true
		}
		if len(seen) != 4 {
			b.Errorf("four directions have the delays %v", seen)
		}
	}, inmem.WithSeed(1))
}

// TestHealStaggersDials expects dials that a partition has caught on their way to
// end one per instant after the heal.
func TestHealStaggersDials(t *testing.T) {
	inBubble(t, func(b *lab) {
		b.SetLatency(10 * ms)
		var dials []*pending
		for _, from := range []string{"a", "c", "d"} {
			dials = append(dials, b.startDial(b.Context(), from, "b"))
		}
		b.until(5 * ms)
		for _, from := range []string{"a", "c", "d"} {
			b.Partition(from, "b")
		}
		b.until(time.Second)
		b.HealAll()
		seen := make(map[time.Duration]bool)
		for _, d := range dials {
			o := <-d.c
			if o.err != nil || o.at <= time.Second || seen[o.at] {
				b.Errorf("a dial gave %v; others ended at %v", o, seen)
			}
			seen[o.at] = true
		}
	}, inmem.WithSeed(1))
}

// TestManySeededConnections expects instants to stay distinct where there are
// more directions than slots for them.
func TestManySeededConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inmem.NewNetwork(inmem.WithSeed(1))
		l, err := n.Node("hub").Listen(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		began, r := time.Now(), new(trace)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				c, err := n.Node(fmt.Sprint(i)).Dial(t.Context(), transport.Peer{Addr: "hub"})
				if err != nil {
					t.Error(err)
					return
				}
				r.addf(began, "dialled")
				_, _ = c.ReadFrame(1)
				r.addf(began, "ended")
			})
		}
		for range 100 {
			c, err := l.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Microsecond)
			_ = c.CloseWithError(0, "")
		}
		wg.Wait()
		seen := make(map[time.Duration]bool)
		for _, e := range r.events {
			if seen[e.at] {
				t.Errorf("two arrivals at %v", e.at)
			}
			seen[e.at] = true
		}
	})
}
