package main

import "github.com/gridmux/gridmux/bench/peers/h"

// Modes that something depends on.
const (
	modeUnary  = "unary"
	modeStream = "stream"
	modeOpen   = "hol-open"
	modeIdle   = "idle"
	modeMesh   = "mesh"
)

// mode is a way to measure a contender.
type mode struct {
	measure func(*h.Factory, options) h.OpenLoopResult // only hol-open fills in more than the Result
	figures []figure
}

// figure is what is reported of a mode. Its value is 0 where there is none.
type figure struct {
	name  string
	value func(*h.OpenLoopResult) float64
}

// plain makes a mode of one that the baseline's harness has.
func plain(measure func(*h.Factory, options) h.Result, figures ...figure) mode {
	return mode{func(f *h.Factory, o options) h.OpenLoopResult {
		return h.OpenLoopResult{Result: measure(f, o)}
	}, figures}
}

var (
	p50      = figure{"p50, µs", func(r *h.OpenLoopResult) float64 { return r.P50 }}
	p99      = figure{"p99, µs", func(r *h.OpenLoopResult) float64 { return r.P99 }}
	p999     = figure{"p99.9, µs", func(r *h.OpenLoopResult) float64 { return r.P999 }}
	worst    = figure{"max, µs", func(r *h.OpenLoopResult) float64 { return r.Max }}
	allocs   = figure{"allocations each", func(r *h.OpenLoopResult) float64 { return r.AllocsOp }}
	cpuTime  = figure{"CPU each, µs", func(r *h.OpenLoopResult) float64 { return r.CPUusOp }}
	bulkRate = figure{"bulk, MB/s each way", func(r *h.OpenLoopResult) float64 { return r.BulkMBs }}

	aloneP99    = figure{"small alone: p99, µs", func(r *h.OpenLoopResult) float64 { return r.IdleP99 }}
	besideP99   = figure{"beside bulk: p99, µs", p99.value}
	besideTimes = figure{
		"p99 beside bulk, in times of p99 alone",
		func(r *h.OpenLoopResult) float64 { return ratio(r.P99, r.IdleP99) },
	}
	bulkBeside = figure{"bulk beside small, MB/s each way", bulkRate.value}
	bulkAlone  = figure{"bulk alone, MB/s each way", func(r *h.OpenLoopResult) float64 { return r.BulkAloneMBs }}

	heldMemory = figure{
		"heap and stacks per connection, KiB",
		func(r *h.OpenLoopResult) float64 { return (r.HeapB + r.StackB) / 1024 },
	}
	resident   = figure{"resident per connection, KiB", func(r *h.OpenLoopResult) float64 { return r.RSSB / 1024 }}
	goroutines = figure{"goroutines per connection", func(r *h.OpenLoopResult) float64 { return r.Gor }}
)

func perSecond(of string) figure {
	return figure{of + " per s", func(r *h.OpenLoopResult) float64 { return r.OpsPerS }}
}

var idleFigures = []figure{
	{"until connected, ms", func(r *h.OpenLoopResult) float64 { return r.Ms }},
	{"CPU per connection, µs", func(r *h.OpenLoopResult) float64 { return r.CPUusOp }},
	heldMemory,
	resident,
	goroutines,
}

var modes = map[string]mode{
	modeUnary: plain(func(f *h.Factory, o options) h.Result {
		return h.Unary(f, o.size, o.conc, o.warm, o.dur, o.prof)
	}, perSecond("calls"), p50, p99, p999, worst, allocs, cpuTime),
	modeStream: plain(func(f *h.Factory, o options) h.Result {
		return h.Streams(f, o.size, o.conc, o.count, o.dur)
	}, perSecond("messages"), allocs, cpuTime),
	"hol": plain(func(f *h.Factory, o options) h.Result {
		return h.HOL(f, o.size, o.bulk, o.warm, o.dur)
	}, perSecond("small calls"), p50, p99, p999, worst, bulkRate),
	modeIdle: plain(func(f *h.Factory, o options) h.Result {
		return h.IdleRun(f, modeIdle, o.conc, o.conc, f.Idle)
	}, idleFigures...),
	modeMesh: plain(func(f *h.Factory, o options) h.Result {
		return h.IdleRun(f, modeMesh, o.conc, o.conc*(o.conc-1)/2, f.Mesh)
	}, idleFigures...),
	modeOpen: {func(f *h.Factory, o options) h.OpenLoopResult {
		return h.OpenLoop(f, h.OpenLoad{
			Size: o.size, Rate: o.rate, Callers: o.callers, Bulk: o.bulk, Warm: o.warm, Dur: o.dur,
		})
	}, []figure{
		{"small alone: p50, µs", func(r *h.OpenLoopResult) float64 { return r.IdleP50 }},
		aloneP99,
		{"small alone: p99.9, µs", func(r *h.OpenLoopResult) float64 { return r.IdleP999 }},
		{"small alone: max, µs", func(r *h.OpenLoopResult) float64 { return r.IdleMax }},
		{"beside bulk: p50, µs", p50.value},
		besideP99,
		{"beside bulk: p99.9, µs", p999.value},
		{"beside bulk: max, µs", worst.value},
		besideTimes,
		bulkBeside,
		bulkAlone,
		{"begun late alone: p99, µs", func(r *h.OpenLoopResult) float64 { return r.IdleLagP99 }},
		{"begun late beside bulk: p99, µs", func(r *h.OpenLoopResult) float64 { return r.LagP99 }},
	}},
}
