package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// pacedOptions is what the flags say of calls at a set rate over the loopback interface, or
// the real path.
type pacedOptions struct {
	paced

	wanted bool
	asked  askedFor
}

const (
	defaultPacedTime = parts * 150 * time.Millisecond
	quickPacedTime   = parts * 50 * time.Millisecond
	// turnWarmUp is what is not counted of each turn.
	turnWarmUp = 50 * time.Millisecond
)

// openPair connects the two nodes of a transport that the paced load is between.
func (o *options) openPair(ctx context.Context, k kind) (*cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	config := o.paced.demand().allow
	if o.remote != nil {
		return o.remote.open(ctx, k, config)
	}
	return openCluster(ctx, k.open(onLoopback), []string{"a", "b"}, config, serveLoads)
}

// path says where the load goes.
func (o *options) path() string {
	if o.remote != nil {
		return "the path to " + o.remote.String()
	}
	return "the loopback interface"
}

// takes is how long all turns of so many transports take.
func (p *pacedOptions) takes(transports int) time.Duration {
	return time.Duration(transports) * (p.duration + parts*p.warmUp)
}

// measurePaced makes calls at a set rate, whatever became of those before. Unlike those over
// emulated links, which have a link each, the transports take turns: there is one
// path, which they would share.
func (p program) measurePaced(ctx context.Context, opts options, of []kind, rep *report, after time.Duration) {
	if len(of) == 0 || !opts.paced.wanted {
		return
	}
	r := newLinkReport(linkOptions{paced: opts.paced.paced, over: make([]linkSpec, 1)}, of)
	r.TCPCongestion, r.longer = tcpCongestion(thisHost{}), "-paced-time"
	rep.Paced = r
	fmt.Fprintf(p.stdout, "\n%s\n", r.pacedHeader(opts.path(), r.Duration))
	takes := opts.paced.takes(len(of))
	fmt.Fprintf(p.stdout, "%v left%s\n", takes.Round(100*time.Millisecond), inAll(takes, after))
	var all []*pacedPair
	defer func() { endAll(ctx, all) }()
	for _, k := range of {
		c, err := opts.openPair(ctx, k)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			rep.fail(k.name, "connecting two nodes", err)
		default:
			all = append(all, newPacedPair(k, c))
		}
	}
	turn := opts.paced.paced
	turn.duration, turn.waker = turn.duration/parts, newWaker
	for part := range parts {
		order := slices.Clone(all)
		if part%2 == 1 {
			slices.Reverse(order) // so that none always follows another
		}
		for _, c := range order {
			if c.err == nil && ctx.Err() == nil {
				c.turn(ctx, turn, part)
			}
		}
	}
	result := linkResult{Title: opts.path(), Conditions: opts.path()}
	for _, c := range all {
		if c.err == nil && c.result.failed > 0 && c.result.failed == c.calls() {
			c.err = fmt.Errorf("all calls failed: %w", c.result.failure)
		}
		if c.err != nil {
			rep.fail(c.name, "measuring calls at a set rate", c.err)
			continue
		}
		line := linkLine{Transport: c.name}
		line.fill(c.result)
		result.Lines = append(result.Lines, line)
	}
	if !slices.ContainsFunc(result.Lines, func(l linkLine) bool { return !l.measured() }) {
		r.add(result)
	}
}

// pacedPair is a transport that takes turns with others.
type pacedPair struct {
	kind

	cluster *cluster
	result  pacedResult
	bits    []float64
	err     error
}

func newPacedPair(k kind, c *cluster) *pacedPair {
	p := &pacedPair{kind: k, cluster: c}
	for i := range p.result.latency {
		p.result.latency[i] = newLinkHistogram()
	}
	return p
}

func (c *pacedPair) end(ctx context.Context) { c.cluster.end(ctx) }

func (c *pacedPair) calls() (n int64) {
	for _, h := range c.result.latency {
		n += h.TotalCount()
	}
	return n
}

// turn is one part of the whole.
func (c *pacedPair) turn(ctx context.Context, turn paced, part int) {
	r, err := turn.run(ctx, c.cluster.peers()[0])
	if err != nil {
		c.err = err
		return
	}
	for _, h := range r.latency {
		c.result.latency[part].Merge(h)
	}
	c.result.failed += r.failed
	if r.failure != nil {
		c.result.failure = r.failure
	}
	c.result.elapsed += r.elapsed
	c.bits = append(c.bits, r.bits)
	c.result.bits = 0
	for _, b := range c.bits {
		c.result.bits += b / float64(len(c.bits))
	}
}

// elapsed is for how long the lines were measured, the longest of them.
func (r *linkResult) elapsed() (longest time.Duration) {
	for i := range r.Lines {
		longest = max(longest, r.Lines[i].Elapsed)
	}
	return longest
}

// pacedHeader says what is about to be measured, or was, for so long.
func (r *linkReport) pacedHeader(over string, length time.Duration) string {
	beside := ""
	if r.Streams > 0 {
		beside = fmt.Sprintf(" beside %s at a steady rate", plural(r.Streams, "stream"))
	}
	if r.Fitted && r.Streams > 0 {
		beside += " of " + bitRate(r.StreamBits)
	}
	if r.Fitted {
		beside += fmt.Sprintf(", which is what the path carries (usual are %d calls and %d streams of %s)",
			defaultLinkRate, defaultPaced, bitRate(defaultStreamBits))
	}
	return wrap(fmt.Sprintf("Now at a set rate over %s, each transport for %v in %d turns: "+
		"node a makes %s calls per second of %d B, which b echoes%s. "+
		"A call is due at its time whatever became of those before (an open loop), and its latency counts from then.",
		over, length.Round(10*time.Millisecond), parts, count(float64(r.Rate)), r.Size, beside), lineWidth)
}
