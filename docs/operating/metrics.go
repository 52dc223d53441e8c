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

// perFlow are the figures of compression, of the messages of a handler in one direction.
var perFlow = []struct {
	name  string
	value func(f *core.CompressionFlow) float64
}{
	{"gridmux_compression_sent_plain_bytes_total", func(f *core.CompressionFlow) float64 { return float64(f.Sent.Plain) }},
	{"gridmux_compression_sent_packed_bytes_total", func(f *core.CompressionFlow) float64 { return float64(f.Sent.Packed) }},
	{"gridmux_compression_received_plain_bytes_total", func(f *core.CompressionFlow) float64 { return float64(f.Received.Plain) }},
	{"gridmux_compression_received_packed_bytes_total", func(f *core.CompressionFlow) float64 { return float64(f.Received.Packed) }},
	{"gridmux_compression_seconds_total", func(f *core.CompressionFlow) float64 { return (f.Sent.Time + f.Received.Time).Seconds() }},
	{"gridmux_compression_skipped_messages_total", func(f *core.CompressionFlow) float64 {
		return float64(f.Small + f.Incompressible + f.Sampled + f.Unsupported)
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
	for _, figure := range perFlow {
		for i := range stats.Compression {
			c := &stats.Compression[i]
			of := fmt.Sprintf("%s{handler=%q,route=%q,direction=", figure.name, c.Handler, c.Route)
			fmt.Fprintf(w, "%s\"requests\"} %v\n", of, figure.value(&c.Requests))
			fmt.Fprintf(w, "%s\"responses\"} %v\n", of, figure.value(&c.Responses))
		}
	}
}
