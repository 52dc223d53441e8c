package main

import (
	"context"
	"strconv"
	"testing"

	"github.com/gridmux/gridmux/core"
)

// opened returns what the flags ask for, connected over inmem.
func opened(t *testing.T, args ...string) (*measurement, *pair) {
	t.Helper()
	opts, err := parseFlags(kinds(), args)
	if err != nil {
		t.Fatal(err)
	}
	m := newMeasurement(opts, kinds()[:1])
	p, err := m.open(t.Context(), m.kinds[0])
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	t.Cleanup(func() { p.end(t.Context()) })
	return m, p
}

// TestDemandOfSizes expects many callers of small messages beside few of large ones to need memory for
// either, and not for as many large ones.
func TestDemandOfSizes(t *testing.T) {
	m, _ := opened(t, "-callers", "1,513", "-workloads", "calls")
	if d := m.demand(); d.bytes < 2<<20 || d.bytes > defaultMaxReassembly {
		t.Errorf("%d bytes are to be allowed", d.bytes)
	}
	m, _ = opened(t, "-callers", "1,10000", "-size", "26000", "-sizes", "16777216", "-workloads", "calls")
	if d := m.demand(); d.bytes < 2*10_000*26_000 || d.bytes > mostMemory {
		t.Errorf("%d bytes are to be allowed for 10000 callers of 26000 bytes each", d.bytes)
	}
}

// TestManyStreams expects as many streams as the flags ask for to be open at once, with those of the window
// before not yet gone.
func TestManyStreams(t *testing.T) {
	const most = maxStreams
	m, p := opened(t, "-streams", strconv.Itoa(most), "-workloads", "streams")
	openAll := func(what string, c *core.Connection) {
		for i := range most {
			if _, err := c.OpenStream(t.Context(), sourceID, nil); err != nil {
				t.Fatalf("%s, stream %d: %v", what, i+1, err)
			}
		}
	}
	openAll("one window", p.clusters[1].peers()[0])
	openAll("the next one", p.clusters[1].peers()[0])
	if d := m.demand(); d.streams != most {
		t.Errorf("%d streams are to be allowed", d.streams)
	}
}

// TestManyPacedStreams expects calls at a set rate to have as many streams beside them as the flags can ask
// for, and the other end of a real path to allow whatever flags ask for.
func TestManyPacedStreams(t *testing.T) {
	opts, err := parseFlags(kinds(), []string{"-link-streams", "1000", "-workloads", "paced"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := opts.openPair(t.Context(), kinds()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.end(t.Context())
	for i := range 2000 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if _, err := c.peers()[0].OpenStream(ctx, sinkID, nil); err != nil {
			t.Fatalf("stream %d: %v", i+1, err)
		}
	}
	var far core.Config
	anyDemand().allow(&far)
	if far.MaxHandlers < maxLinkRate*10+maxStreams || far.MaxHandlersTotal < far.MaxHandlers || far.MaxStreamBuffers < maxStreams*defaultStreamWindow ||
		far.MaxReassembly < 2*maxInFlight {
		t.Errorf("bench serve allows %d handlers, %d in all, %d bytes of streams and %d of messages",
			far.MaxHandlers, far.MaxHandlersTotal, far.MaxStreamBuffers, far.MaxReassembly)
	}
}
