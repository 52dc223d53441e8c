package main

import "github.com/gridmux/gridmux/bench/peers/h"

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
)

func perSecond(of string) figure {
	return figure{of + " per s", func(r *h.OpenLoopResult) float64 { return r.OpsPerS }}
}

var idleFigures = []figure{
	{"until connected, ms", func(r *h.OpenLoopResult) float64 { return r.Ms }},
	{"CPU per connection, µs", func(r *h.OpenLoopResult) float64 { return r.CPUusOp }},
	{"heap and stacks per connection, KiB", func(r *h.OpenLoopResult) float64 { return (r.HeapB + r.StackB) / 1024 }},
	{"resident per connection, KiB", func(r *h.OpenLoopResult) float64 { return r.RSSB / 1024 }},
	{"goroutines per connection", func(r *h.OpenLoopResult) float64 { return r.Gor }},
}

var modes = map[string]mode{
	"unary": plain(func(f *h.Factory, o options) h.Result {
		return h.Unary(f, o.size, o.conc, o.warm, o.dur, o.prof)
	}, perSecond("calls"), p50, p99, p999, worst, allocs, cpuTime),
	"stream": plain(func(f *h.Factory, o options) h.Result {
		return h.Streams(f, o.size, o.conc, o.count, o.dur)
	}, perSecond("messages"), allocs, cpuTime),
	"hol": plain(func(f *h.Factory, o options) h.Result {
		return h.HOL(f, o.size, o.bulk, o.warm, o.dur)
	}, perSecond("small calls"), p50, p99, p999, worst, bulkRate),
	"idle": plain(func(f *h.Factory, o options) h.Result {
		return h.IdleRun(f, "idle", o.conc, o.conc, f.Idle)
	}, idleFigures...),
	"mesh": plain(func(f *h.Factory, o options) h.Result {
		return h.IdleRun(f, "mesh", o.conc, o.conc*(o.conc-1)/2, f.Mesh)
	}, idleFigures...),
	"hol-open": {func(f *h.Factory, o options) h.OpenLoopResult {
		return h.OpenLoop(f, h.OpenLoad{
			Size: o.size, Rate: o.rate, Callers: o.callers, Bulk: o.bulk, Warm: o.warm, Dur: o.dur,
		})
	}, []figure{
		{"small alone: p50, µs", func(r *h.OpenLoopResult) float64 { return r.IdleP50 }},
		{"small alone: p99, µs", func(r *h.OpenLoopResult) float64 { return r.IdleP99 }},
		{"small alone: p99.9, µs", func(r *h.OpenLoopResult) float64 { return r.IdleP999 }},
		{"small alone: max, µs", func(r *h.OpenLoopResult) float64 { return r.IdleMax }},
		{"beside bulk: p50, µs", p50.value},
		{"beside bulk: p99, µs", p99.value},
		{"beside bulk: p99.9, µs", p999.value},
		{"beside bulk: max, µs", worst.value},
		{"p99 beside bulk, in times of p99 alone", func(r *h.OpenLoopResult) float64 { return ratio(r.P99, r.IdleP99) }},
		{"bulk beside small, MB/s each way", bulkRate.value},
		{"bulk alone, MB/s each way", func(r *h.OpenLoopResult) float64 { return r.BulkAloneMBs }},
		{"begun late alone: p99, µs", func(r *h.OpenLoopResult) float64 { return r.IdleLagP99 }},
		{"begun late beside bulk: p99, µs", func(r *h.OpenLoopResult) float64 { return r.LagP99 }},
	}},
}
