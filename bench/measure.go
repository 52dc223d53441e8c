package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gridmux/gridmux/core"
)

const (
	minRounds = 3
	maxRounds = 15
	// usualRounds are enough for a bootstrap to tell a difference from chance.
	usualRounds = 9
	// usualWindow is how long a window is if there is time for more than the
	// fewest rounds.
	usualWindow = 600 * time.Millisecond
	// fairWindow is how long a window has to be for there to be usualRounds of them.
	fairWindow = 50 * time.Millisecond
	minWindow  = 25 * time.Millisecond
	// timeSlack is the part of the time, one in so many, that it may take longer: windows
	// have to be begun and ended.
	timeSlack = 6
	// connectTimeout bounds how long two nodes may take to connect. It takes
	// milliseconds if nothing is wrong.
	connectTimeout = 10 * time.Second
)

// plan divides the time among the windows.
type plan struct {
	rounds int
	warmUp time.Duration // at the beginning of each window, not counted
	window time.Duration // what is counted
}

// newPlan makes usualRounds if there is time for windows that are not too short, and
// more if they have the usual length: an odd number, so that a median is a figure that
// was measured.
func newPlan(total time.Duration, cells int) plan {
	p := plan{rounds: minRounds}
	enough := func(window time.Duration) bool { return total >= time.Duration(cells*(p.rounds+2))*window }
	for p.rounds < usualRounds && enough(fairWindow) || p.rounds < maxRounds && enough(usualWindow) {
		p.rounds += 2
	}
	each := (total / time.Duration(cells*p.rounds)).Truncate(time.Millisecond)
	p.warmUp = each / 5
	p.window = each - p.warmUp
	return p
}

// measurement measures some transports side by side.
type measurement struct {
	plan

	options

	loads    []load
	kinds    []kind
	bench    *bench
	pairs    []*pair // one for each kind
	progress *progress
	leftOut  []leftOut
	enough   time.Duration // what all that may be measured would take; 0: there is time for that
	until    time.Time     // when no further load is begun over a real path; zero: there is no such time
}

func newMeasurement(opts options, of []kind) *measurement {
	m := &measurement{plan: newPlan(opts.duration, opts.lines()*len(of)), options: opts, kinds: of}
	m.loads = loads(opts, m.plan)
	if m.remote != nil {
		m.fitToPath()
	}
	m.bench = newBench(m.atOnce() + bulkCallers)
	return m
}

// atOnce is how many do something at once.
func (m *measurement) atOnce() int {
	if len(m.loads) == 0 {
		return 0
	}
	return slices.MaxFunc(m.loads, func(a, b load) int { return cmp.Compare(a.atOnce, b.atOnce) }).atOnce
}

// pair is nodes over one transport, of which the first calls the others: a cluster of two
// for most loads.
type pair struct {
	kind

	clusters map[int]*cluster // by the number of nodes that are called

	tasks   []tasks                   // of each load
	cells   [][]sample                // of each load, by round
	latency []*hdrhistogram.Histogram // of each load, of the windows of all rounds that are complete
	latest  []*hdrhistogram.Histogram // of each load, of its last window
	failed  []bool                    // of each load: it is not measured any more
	inTurn  int                       // loads that failed one right after the other
	down    bool                      // nothing is measured any more
}

// failuresInTurn is after how many loads it is the transport that fails, or the other end: each
// may take as long as a time-out.
const failuresInTurn = 2

// fail notes that a load has failed.
func (p *pair) fail(load int) {
	p.failed[load] = true
	p.inTurn++
	p.down = p.inTurn >= failuresInTurn || !slices.Contains(p.failed, false)
}

// succeed adds what a window of a load has measured.
func (p *pair) succeed(load int, s sample, latency *hdrhistogram.Histogram) {
	p.inTurn = 0
	p.cells[load] = append(p.cells[load], s)
	p.latest[load].Reset()
	p.latest[load].Merge(latency)
}

// complete adds the latencies of a round to those before, and reports whether anything was measured in it.
func (p *pair) complete(round int) (measured bool) {
	for i, windows := range p.cells {
		if n := len(windows); n > 0 && windows[n-1].Round == round {
			p.latency[i].Merge(p.latest[i])
			measured = true
		}
	}
	return measured
}

func (m *measurement) open(ctx context.Context, k kind) (*pair, error) {
	p := &pair{
		kind: k, clusters: map[int]*cluster{}, cells: make([][]sample, len(m.loads)), failed: make([]bool, len(m.loads)),
	}
	for i := range m.loads {
		l := &m.loads[i]
		c := p.clusters[l.nodes()]
		if c == nil {
			var err error
			if c, err = m.openCluster(ctx, k, l.nodes()); err != nil {
				p.end(ctx)
				return nil, err
			}
			p.clusters[l.nodes()] = c
		}
		work := l.tasks(c.peers())
		work.wire = c.wire
		if l.table == streams {
			work.settle = c.settle
		}
		p.tasks = append(p.tasks, work)
		p.latency, p.latest = append(p.latency, newHistogram()), append(p.latest, newHistogram())
	}
	return p, nil
}

// openCluster connects a node with those that it is to call, on this machine or, with
// -connect, on another one.
func (m *measurement) openCluster(ctx context.Context, k kind, called int) (*cluster, error) {
	config := m.demand().allow
	if m.remote != nil {
		return m.remote.open(ctx, k, config)
	}
	names := []string{"a", "b"}
	for i := 1; i < called; i++ {
		names = append(names, "b"+strconv.Itoa(i+1))
	}
	return openCluster(ctx, k.open(onLoopback), names, config, serveLoads)
}

func (p *pair) end(ctx context.Context) { endAll(ctx, slices.Collect(maps.Values(p.clusters))) }

// serveLoads registers what all loads call.
func serveLoads(m *core.Manager) error { return errors.Join(serveEcho(m), serveStreams(m)) }

// run measures, and puts the cells of all transports into the report, with what was
// measured before they failed. If ctx ends, those are the cells of the rounds that were
// complete.
func (m *measurement) run(ctx context.Context, rep *report) {
	defer func() { endAll(ctx, m.pairs) }()
	for _, k := range m.kinds {
		openCtx, cancel := context.WithTimeout(ctx, connectTimeout)
		p, err := m.open(openCtx, k)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			rep.fail(k.name, "connecting two nodes", err)
		default:
			m.pairs = append(m.pairs, p)
		}
	}
	began := time.Now()
	if m.remote != nil {
		m.until = began.Add(m.duration + m.duration/timeSlack)
	}
	for round := 1; round <= m.rounds; round++ {
		if !m.round(ctx, round, rep) {
			break
		}
		rep.Rounds = round
		m.fit(round, time.Since(began), rep)
	}
	rep.fill(m)
}

// fit leaves out as many rounds as the machine, by the time that those before took, is too
// busy for.
func (m *measurement) fit(round int, took time.Duration, rep *report) {
	from := minRounds
	if m.remote != nil {
		from = 1 // of a path the first is as the others are
	}
	if fits := fitting(m.rounds, m.duration, from, round, took); fits < m.rounds {
		m.rounds, rep.Planned = fits, fits
		m.progress.shorten(fits, len(m.loads)*len(m.kinds))
	}
}

// fitting is how many of the planned rounds there is time for if those before took so long:
// those before and this one at least, and all before there were so many that the first, which is slow where
// things are done for the first time, does not decide.
func fitting(planned int, total time.Duration, from, round int, took time.Duration) int {
	if round < from {
		return planned
	}
	each := max(took/time.Duration(round), 1)
	fits := int((total + total/timeSlack) / each)
	if fits%2 == 0 {
		fits-- // as in newPlan
	}
	return max(fits, round)
}

// round measures each load over each transport once, but for those that failed. It reports
// false if it did not come to its end, or nothing is left to be measured.
func (m *measurement) round(ctx context.Context, round int, rep *report) bool {
	// In turn forwards and backwards, so that none always follows another.
	order := slices.Clone(m.pairs)
	if round%2 == 0 {
		slices.Reverse(order)
	}
	for i := range m.loads {
		l := &m.loads[i]
		if m.late() {
			if round > 1 {
				rep.Planned = round - 1 // those that there was time for
				return false
			}
			m.giveUp(i, rep)
		}
		warmUp, window := m.warmUp, m.window
		if l.slot.window > 0 {
			warmUp, window = l.slot.warmUp, l.slot.window
		}
		for _, p := range order {
			if p.down || p.failed[i] {
				m.progress.skip(round, l.slot.takes())
				continue
			}
			m.progress.begin(round, l.title, p.name)
			s, err := m.bench.window(ctx, l, p.tasks[i], warmUp, window)
			if ctx.Err() != nil {
				return false
			}
			m.progress.end(l.slot.takes())
			if err != nil {
				p.fail(i)
				rep.fail(p.name, fmt.Sprintf("measuring %s, round %d", l.title, round), err)
				continue
			}
			s.Round = round
			p.succeed(i, s, m.bench.total)
		}
	}
	measured := false
	for _, p := range m.pairs {
		measured = p.complete(round) || measured
	}
	return measured
}

// late reports whether the time is over, over a path that has become slower than it was at first.
func (m *measurement) late() bool { return !m.until.IsZero() && time.Now().After(m.until) }

// giveUp leaves out a load of the first round that there is no time for any more.
func (m *measurement) giveUp(load int, rep *report) {
	for _, p := range m.pairs {
		p.failed[load] = true
	}
	l := &m.loads[load]
	rep.LeftOut = append(rep.LeftOut, leftOut{l.table.String(), l.title, "the path was slower than at first, and the time over"})
}
