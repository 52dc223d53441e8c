package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// linkOptions is what the flags say about links.
type linkOptions struct {
	paced

	over  []linkSpec // empty: no links
	kinds []kind
	seed  uint64
	// congestion is that of TCP; "" leaves it to the kernel.
	congestion string
	// shaped: in this process, instead of between network namespaces.
	shaped bool
}

// opener returns what makes the links.
func (o *linkOptions) opener(p program) linkOpener {
	if o.shaped {
		return openShaped
	}
	return p.link
}

// hosts returns the ends of a link, as they are to be.
func (o *linkOptions) hosts(l emulated) hosts {
	if o.congestion == "" {
		return l.at
	}
	return func(node string) host { return tuned{l.at(node), o.congestion} }
}

// linkSpec is a link to be measured.
type linkSpec struct {
	title      string
	conditions link.Conditions
	// grid: it is a combination of -rtt and -loss, and so in the matrix.
	grid bool
}

// emulated is a link between the nodes a and b.
type emulated interface {
	at(node string) host
	stats() (link.Stats, error)
	close()
}

// linkOpener makes links.
type linkOpener func(seed uint64, c link.Conditions) (emulated, error)

// openEmulated makes a link between two network namespaces.
func openEmulated(seed uint64, c link.Conditions) (emulated, error) {
	l, err := link.New(seed, c)
	if err != nil {
		return nil, err
	}
	return namespaces{l}, nil
}

type namespaces struct{ *link.Link }

func (n namespaces) at(node string) host {
	if node == "a" {
		return n.A()
	}
	return n.B()
}

// stats adds up both directions.
func (n namespaces) stats() (link.Stats, error) {
	s, err := n.Stats(link.AToB)
	if err != nil {
		return link.Stats{}, err
	}
	back, err := n.Stats(link.BToA)
	s.Sent += back.Sent
	s.SentOctets += back.SentOctets
	s.Delivered += back.Delivered
	s.Lost += back.Lost
	s.Overflowed += back.Overflowed
	s.Overrun += back.Overrun
	s.Late += back.Late
	return s, err
}

func (n namespaces) close() { _ = n.Close() } // of a process that is no use any more

const (
	// linkConnectTimeout bounds how long two nodes may take to connect over a link,
	// where a lost packet alone may cost a second.
	linkConnectTimeout = 20 * time.Second
	// blockedTimeout is how long something is tried that is to fail.
	blockedTimeout = 3 * time.Second
)

// contender is a transport on a link of its own.
type contender struct {
	kind

	link    emulated
	cluster *cluster
	line    linkLine
}

// measureLinks measures every link and puts what there is into the report.
func (p program) measureLinks(ctx context.Context, opts linkOptions, of []kind, rep *report, after time.Duration) {
	if len(of) == 0 {
		return
	}
	rep.Links = newLinkReport(opts, of)
	// Before anything is announced, whether there are links at all.
	switch l, err := opts.opener(p)(opts.seed, opts.over[0].conditions); {
	case errors.Is(err, link.ErrUnavailable):
		rep.Links.LeftOut = trimPackage(err).Error()
		return
	case err == nil:
		l.close()
	}
	fmt.Fprintf(p.stdout, "\n%s\n", rep.Links.header(rep.Links.Planned))
	progress := newLinkProgress(p.stdout, p.stderr, opts, after)
	defer progress.finish()
	for _, spec := range opts.over {
		progress.begin(spec)
		unconnected, err := p.measureLink(ctx, opts, spec, of, rep)
		progress.end()
		// What failed to connect once would take that long over each link.
		of = slices.DeleteFunc(slices.Clone(of), func(k kind) bool { return slices.Contains(unconnected, k.name) })
		switch {
		case err == nil && len(of) == 0:
			return
		case err != nil:
			rep.fail("links", "emulating "+spec.title, err)
			return
		case ctx.Err() != nil:
			return
		}
	}
}

// measureLink measures all transports over links of the same conditions and the
// same seed, at the same time, so that what the machine does besides disturbs all of
// them alike. It returns those that failed to connect. Its error is that of a link.
func (p program) measureLink(
	ctx context.Context, opts linkOptions, spec linkSpec, of []kind, rep *report,
) (unconnected []string, err error) {
	var all []*contender
	defer func() { endAll(ctx, all) }()
	for _, k := range of {
		l, err := opts.opener(p)(opts.seed, spec.conditions)
		if err != nil {
			return nil, err
		}
		all = append(all, &contender{kind: k, link: l, line: linkLine{Transport: k.name}})
	}
	rep.Links.TCPCongestion = cmp.Or(rep.Links.TCPCongestion, tcpCongestion(opts.hosts(all[0].link)("a")))
	together(all, func(c *contender) { c.connect(ctx, opts, spec) })
	together(all, func(c *contender) { c.measure(ctx, opts) })
	if ctx.Err() != nil && slices.ContainsFunc(all, func(c *contender) bool { return c.line.Calls == 0 && c.line.NoConnection == "" }) {
		return nil, nil // there is nothing to compare yet
	}
	result := linkResult{
		Title: spec.title, Conditions: spec.conditions.String(),
		RTT: spec.conditions.RTT, Loss: spec.conditions.Loss, Grid: spec.grid,
	}
	for _, c := range all {
		if c.line.err != nil {
			rep.fail(c.name, c.line.doing+" over "+spec.title, c.line.err)
			if c.cluster == nil {
				unconnected = append(unconnected, c.name)
			}
			continue
		}
		result.Lines = append(result.Lines, c.line)
	}
	rep.Links.add(result)
	return unconnected, nil
}

func together(all []*contender, do func(c *contender)) {
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { do(c) })
	}
	wg.Wait()
}

// connect connects two nodes, or notes why they do not.
func (c *contender) connect(ctx context.Context, opts linkOptions, spec linkSpec) {
	blocked := spec.conditions.BlockUDP && c.carrier == overUDP
	timeout := linkConnectTimeout
	if blocked {
		timeout = blockedTimeout
	}
	connecting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var err error
	c.cluster, err = openCluster(connecting, c.open(opts.hosts(c.link)), []string{"a", "b"}, opts.demand().allow, serveLoads)
	switch {
	case err == nil || ctx.Err() != nil:
	case blocked:
		c.line.NoConnection = "UDP is blocked"
	default:
		c.line.doing, c.line.err = "connecting two nodes", err
	}
}

// measure runs the load, if there is a connection.
func (c *contender) measure(ctx context.Context, opts linkOptions) {
	if c.cluster == nil {
		return
	}
	c.line.doing = "measuring"
	before, err := c.link.stats()
	if err != nil {
		c.line.err = err
		return
	}
	load := opts.paced
	load.waker = newWaker
	result, err := load.run(ctx, c.cluster.connection("b"))
	if err != nil {
		c.line.err = err
		return
	}
	after, err := c.link.stats()
	if err != nil {
		c.line.err = err
		return
	}
	c.line.fill(result)
	c.line.count(before, after)
	if n := c.line.Calls; n > 0 && c.line.Failed == n {
		c.line.err = fmt.Errorf("all calls failed: %w", result.failure)
	}
}

func (c *contender) end(ctx context.Context) {
	if c.cluster != nil {
		c.cluster.end(ctx)
	}
	c.link.close()
}
