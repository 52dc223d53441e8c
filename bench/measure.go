package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gridmux/gridmux/core"
)

const (
	minRounds = 3
	maxRounds = 15
	// usualWindow is how long a window is if there is time for more than the
	// fewest rounds.
	usualWindow = 600 * time.Millisecond
	minWindow   = 25 * time.Millisecond
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

// newPlan makes as many rounds as give every cell windows of the usual length:
// an odd number, so that a median is a figure that was measured.
func newPlan(total time.Duration, cells int) plan {
	p := plan{rounds: minRounds}
	for p.rounds < maxRounds && total >= time.Duration(cells*(p.rounds+2))*usualWindow {
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
}

func newMeasurement(opts options, of []kind) *measurement {
	m := &measurement{plan: newPlan(opts.duration, opts.lines()*len(of)), options: opts, kinds: of}
	m.loads = loads(opts, m.plan)
	m.bench = newBench(m.most() + bulkCallers)
	return m
}

// most is how many do something at once.
func (m *measurement) most() int {
	return slices.MaxFunc(m.loads, func(a, b load) int { return cmp.Compare(a.atOnce, b.atOnce) }).atOnce
}

// pair is two nodes over one transport, one of which calls the other.
type pair struct {
	kind
	*cluster

	tasks  []tasks    // of each load
	cells  [][]sample // of each load, by round
	failed bool
}

func (m *measurement) open(ctx context.Context, k kind) (*pair, error) {
	c, err := openCluster(ctx, k.open(onLoopback), []string{"a", "b"}, func(cfg *core.Config) {
		// Defaults, unless the flags ask for more than they allow.
		cfg.MaxHandlers = max(m.most(), defaultMaxHandlers)
		cfg.MaxReassembly = max(2*m.most()*m.size, defaultMaxReassembly)
	}, func(m *core.Manager) error { return errors.Join(serveEcho(m), serveStreams(m)) })
	if err != nil {
		return nil, err
	}
	p := &pair{kind: k, cluster: c, cells: make([][]sample, len(m.loads))}
	for _, l := range m.loads {
		p.tasks = append(p.tasks, l.tasks(c.connection("b")))
	}
	return p, nil
}

// The core's defaults for these limits.
const (
	defaultMaxHandlers   = 1000
	defaultMaxReassembly = 64 << 20
)

// run measures, and puts the cells of the transports that did not fail into
// the report. If ctx ends, those are the cells of the rounds that were
// complete.
func (m *measurement) run(ctx context.Context, rep *report) {
	defer func() {
		for _, p := range m.pairs {
			p.close()
		}
	}()
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
	for round := 1; round <= m.rounds; round++ {
		if !m.round(ctx, round, rep) {
			break
		}
		rep.Rounds = round
	}
	rep.fill(m)
}

// round measures each load over each transport once. It reports
// false if it did not come to its end.
func (m *measurement) round(ctx context.Context, round int, rep *report) bool {
	// In turn forwards and backwards, so that none always follows another.
	order := slices.Clone(m.pairs)
	if round%2 == 0 {
		slices.Reverse(order)
	}
	for i := range m.loads {
		l := &m.loads[i]
		for _, p := range order {
			if p.failed {
				m.progress.skip()
				continue
			}
			m.progress.begin(round, l.title, p.name)
			s, err := m.bench.window(ctx, l, p.tasks[i], m.warmUp, m.window)
			if ctx.Err() != nil {
				return false
			}
			m.progress.end()
			if err != nil {
				p.failed = true
				rep.fail(p.name, fmt.Sprintf("measuring %s, round %d", l.title, round), err)
				continue
			}
			s.Round = round
			p.cells[i] = append(p.cells[i], s)
		}
	}
	return slices.ContainsFunc(m.pairs, func(p *pair) bool { return !p.failed })
}
