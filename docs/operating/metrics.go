package main

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core"
)

// losses counts connections that ended though neither node had said that it would
// go away. A peer that is restarted by Shutdown does not count.
type losses struct{ n atomic.Int64 }

func (l *losses) count(c core.StateChange) {
	if c.From == core.StateConnected && c.Err != nil && !errors.Is(c.Err, core.ErrDraining) {
		l.n.Add(1)
	}
}

// perPeer are the figures of one peer, for Prometheus.
var perPeer = []struct {
	name  string
	value func(p *core.PeerStats, now time.Time) float64
}{
	{"gridmux_peer_connected", func(p *core.PeerStats, _ time.Time) float64 {
		if p.State == core.StateConnected {
			return 1
		}
		return 0
	}},
	{"gridmux_peer_sent_bytes_total", func(p *core.PeerStats, _ time.Time) float64 { return float64(p.Sent) }},
	{"gridmux_peer_received_bytes_total", func(p *core.PeerStats, _ time.Time) float64 { return float64(p.Received) }},
	{"gridmux_peer_ping_seconds", func(p *core.PeerStats, _ time.Time) float64 { return p.RoundTrip.Seconds() }},
	{"gridmux_peer_handlers", func(p *core.PeerStats, _ time.Time) float64 { return float64(p.Handlers) }},
	{"gridmux_peer_held_bytes", func(p *core.PeerStats, _ time.Time) float64 { return float64(p.Held) }},
	{"gridmux_peer_window_bytes", func(p *core.PeerStats, _ time.Time) float64 { return float64(p.Windows) }},
	{"gridmux_peer_waiting_messages", func(p *core.PeerStats, _ time.Time) float64 { return float64(p.Waiting) }},
	{"gridmux_peer_streams", func(p *core.PeerStats, _ time.Time) float64 { return float64(len(p.Streams)) }},
	{"gridmux_peer_longest_send_seconds", func(p *core.PeerStats, now time.Time) float64 {
		var longest time.Duration
		for i := range p.Streams {
			if w := p.Streams[i].Sending; w.For != core.WaitNone {
				longest = max(longest, now.Sub(w.Since))
			}
		}
		return longest.Seconds()
	}},
}

// writeMetrics writes the figures of a node in the text format of Prometheus.
func writeMetrics(w io.Writer, stats core.Stats, lost int64, now time.Time) {
	fmt.Fprintf(w, "gridmux_connections_lost_total %d\n", lost)
	for _, figure := range perPeer {
		for i := range stats.Peers {
			p := &stats.Peers[i]
			fmt.Fprintf(w, "%s{peer=%q} %v\n", figure.name, p.Peer, figure.value(p, now))
		}
	}
}
