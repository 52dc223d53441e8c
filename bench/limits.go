package main

import (
	"time"

	"github.com/gridmux/gridmux/core"
)

// The core's defaults for the limits that loads may need to be higher, and the most that it
// takes for those in bytes.
const (
	defaultMaxHandlers      = 1000
	defaultMaxHandlersTotal = 10_000
	defaultMaxReassembly    = 64 << 20
	defaultMaxStreamBuffers = 64 << 20
	defaultStreamWindow     = 64 << 10
	mostMemory              = 1 << 30
)

// demand is what a load needs of the nodes that it is between.
type demand struct {
	calls   int // under way at once
	streams int // beside them
	bytes   int // of large messages under way
}

// allow sets the limits of a node: they are the defaults, which are what is to be measured,
// unless they would refuse the load.
func (d demand) allow(cfg *core.Config) {
	// A stream that was closed may be under way still when the next one is opened.
	streams := 2 * d.streams
	cfg.MaxHandlers = max(d.calls+streams, defaultMaxHandlers)
	cfg.MaxHandlersTotal = max(cfg.MaxHandlers, defaultMaxHandlersTotal)
	cfg.MaxReassembly = min(max(d.bytes, defaultMaxReassembly), mostMemory)
	// Streams that are read quickly may take half of it, beside the first windows of all.
	cfg.MaxStreamBuffers = min(max(2*streams, defaultMaxStreamBuffers/defaultStreamWindow), mostMemory/defaultStreamWindow) *
		defaultStreamWindow
}

// demand is what the loads that are run need, one after another.
func (m *measurement) demand() (d demand) {
	for i := range m.loads {
		l := &m.loads[i]
		if l.table == streams {
			d.streams = max(d.streams, l.atOnce)
		} else {
			d.calls = max(d.calls, l.atOnce)
		}
		d.bytes = max(d.bytes, 2*l.atOnce*l.size)
	}
	d.calls += bulkCallers
	d.bytes += 2 * bulkCallers * bulkSize
	return d
}

// anyDemand is as much as any flags ask for.
func anyDemand() demand {
	d := (&paced{rate: maxLinkRate}).demand()
	d.streams, d.bytes = maxStreams, 2*(maxInFlight+bulkCallers*bulkSize)
	return d
}

// demand is what calls at a set rate need if all take the time-out, and the streams beside them.
func (p *paced) demand() demand {
	return demand{calls: p.rate * int(callTimeout/time.Second), streams: p.streams, bytes: 2 * p.rate * p.size}
}
