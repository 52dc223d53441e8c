package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// environment is what else the figures depend on: settings of the runtime, of the kernel and
// of the loopback device. What the system does not tell is left out.
type environment struct {
	Kernel string `json:"kernel,omitempty"`

	// Of the garbage collector. Percent is -1 if it is off; Limit is in bytes, 0 without one.
	GCPercent   int    `json:"gc_percent"`
	MemoryLimit int64  `json:"memory_limit_bytes,omitempty"`
	GODEBUG     string `json:"godebug,omitempty"`

	TCPCongestion  string `json:"tcp_congestion_control,omitempty"` // of the kernel
	QUICCongestion string `json:"quic_congestion_control"`

	// Buffers are the limits on those of sockets, by the names that the kernel has for them.
	Buffers map[string]string `json:"socket_buffers,omitempty"`
	// Offloads are what the loopback device and UDP sockets take off the processor.
	Offloads map[string]bool `json:"offloads,omitempty"`

	// Load is how much the machine had to do before, in processes that run.
	Load string `json:"load_average,omitempty"`
}

// thisEnvironment reads it.
func thisEnvironment() environment {
	e := environment{
		GODEBUG:        os.Getenv("GODEBUG"),
		GCPercent:      gcPercent(),
		MemoryLimit:    debug.SetMemoryLimit(-1),
		TCPCongestion:  tcpCongestion(thisHost{}),
		QUICCongestion: quicCongestion,
	}
	if e.MemoryLimit == math.MaxInt64 {
		e.MemoryLimit = 0
	}
	e.fill()
	return e
}

// gcPercent returns what GOGC says, which nothing in this program changes.
func gcPercent() int {
	percent := debug.SetGCPercent(100)
	debug.SetGCPercent(percent)
	return percent
}

// String says it in a sentence without its full stop.
func (e *environment) String() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if e.Kernel != "" {
		add("kernel %s", e.Kernel)
	}
	gc := "off"
	if e.GCPercent >= 0 {
		gc = strconv.Itoa(e.GCPercent)
	}
	add("GOGC=%s", gc)
	if e.MemoryLimit > 0 {
		add("GOMEMLIMIT=%d", e.MemoryLimit)
	}
	if e.TCPCongestion != "" {
		add("TCP with %s", e.TCPCongestion)
	}
	add("QUIC with %s", e.QUICCongestion)
	if n, ok := e.Buffers["net.core.rmem_max"]; ok {
		add("UDP buffers up to %s bytes", n)
	}
	if len(e.Offloads) > 0 {
		var off []string
		for _, name := range offloadNames() {
			if on, known := e.Offloads[name]; known && !on {
				off = append(off, name)
			}
		}
		if off == nil {
			add("all offloads")
		} else {
			add("without the offloads %s", strings.Join(off, ", "))
		}
	}
	if e.Load != "" {
		add("load %s on %s", e.Load, plural(runtime.NumCPU(), "core"))
	}
	return strings.Join(parts, ", ")
}

// offloadNames are those that are looked for, by the names of ethtool and, of sockets, of
// the options.
func offloadNames() []string { return []string{"tso", "gso", "gro", "udp_segment", "udp_gro"} }
