package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/docs/bootstrap"
)

// clusterOptions is what the flags say of clusters that start, recover and do nothing.
type clusterOptions struct {
	wanted bool
	nodes  int
	rounds int
}

const (
	defaultNodes = 8
	maxNodes     = 100
	// clusterRounds is how often each is measured, in turn.
	clusterRounds = 3
	// usualCluster is about what one of defaultNodes takes in a round, and usualIdle what it takes
	// once to see what it costs when nothing is done.
	usualCluster = 250 * time.Millisecond
	usualIdle    = settleTime + 500*time.Millisecond
	// patience is how many times as long it may take before no further round is begun.
	patience = 3
	// clusterTimeout bounds what one cluster takes.
	clusterTimeout = time.Minute
	// Of a burst every node has so many callers for every other, each of which makes so
	// many calls.
	burstCallers = 16
	burstCalls   = 25
	// settleTime is how long a cluster does nothing before its memory is read.
	settleTime = time.Second
)

// usually is about how long so many rounds take over so many transports: with the number of
// nodes, that of connections grows as its square.
func (o *clusterOptions) usually(rounds, transports int) time.Duration {
	share := max(1, float64(o.nodes*o.nodes)/(defaultNodes*defaultNodes))
	return time.Duration(share * float64(transports) * float64(time.Duration(rounds)*usualCluster))
}

// takes is about how long all of it does.
func (o *clusterOptions) takes(transports int) time.Duration {
	return o.usually(o.rounds, transports) + time.Duration(transports)*usualIdle
}

// measureClusters measures all transports in turn, and puts what there is into the report.
func (p program) measureClusters(ctx context.Context, opts options, of []kind, rep *report, after time.Duration) {
	if len(of) == 0 {
		return
	}
	r := newClusterReport(opts.clusters)
	rep.Clusters = r
	fmt.Fprintf(p.stdout, "\n%s\n", r.header(r.Planned))
	failed := map[string]bool{}
	left, took := opts.clusters.takes(len(of)), time.Duration(0)
	for round := 1; round <= r.Planned && !r.Slow; round++ {
		fmt.Fprintf(p.stdout, "clusters: round %d of %d, %v left%s\n",
			round, r.Planned, left.Round(100*time.Millisecond), inAll(left, after))
		order := slices.Clone(of)
		if round%2 == 0 {
			slices.Reverse(order)
		}
		for _, k := range order {
			if failed[k.name] {
				continue
			}
			began := time.Now()
			found, err := measureCluster(ctx, k, r.Nodes, round == 1)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				failed[k.name] = true
				rep.fail(k.name, "measuring clusters, round "+strconv.Itoa(round), err)
			default:
				took += time.Since(began)
				r.add(k.name, found)
			}
		}
		r.Rounds = round
		left = opts.clusters.usually(r.Planned-round, len(of)-len(failed))
		r.Slow = took > patience*opts.clusters.takes(len(of)) && round < r.Planned
	}
}

// clusterRound is what one cluster was found to take.
type clusterRound struct {
	// Mesh is from the start of the first node to when all were connected to all others,
	// Bootstrap to when every node had been told by all others that they have the
	// same configuration.
	Mesh      time.Duration `json:"mesh_ns"`
	Bootstrap time.Duration `json:"bootstrap_ns"`
	// Storm is from the start of a node that was killed to when all others had an answer from
	// it, and StormCPU the processor time of all of them until then.
	Storm    time.Duration `json:"storm_ns"`
	StormCPU time.Duration `json:"storm_cpu_ns"`
	// Fresh and Used are of the cluster when it does nothing, before any call and
	// after a burst of them; nil: not looked at in this round.
	Fresh *idleCost `json:"fresh,omitempty"`
	Used  *idleCost `json:"after_a_burst,omitempty"`
}

// idleCost is what a connection takes, both ends and their share of the nodes included.
type idleCost struct {
	Memory     float64 `json:"memory_bytes"` // of the heap and of stacks
	Goroutines float64 `json:"goroutines"`
}

// measureCluster starts a cluster, restarts one of its nodes, and closes it.
func measureCluster(ctx context.Context, k kind, nodes int, idle bool) (found clusterRound, err error) {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	names := make([]string, nodes)
	for i := range names {
		names[i] = "n" + strconv.Itoa(i+1)
	}
	// Of nothing but how many nodes there are, which all of them know.
	digest := bootstrap.Digest(map[string]string{"nodes": strconv.Itoa(nodes)})
	handlers := func(m *core.Manager) error { return errors.Join(serveEcho(m), bootstrap.Serve(m, digest)) }
	if idle {
		if found.Fresh, err = measureFresh(ctx, k, names, handlers); err != nil {
			return found, err
		}
	}
	c := newCluster(nil, handlers)
	defer c.end(ctx)
	var before footprint
	if idle {
		before = footprintNow()
	}
	if err := c.place(k.open(onLoopback), names); err != nil {
		return found, err
	}
	if err := c.measureStart(ctx, digest, &found); err != nil {
		return found, err
	}
	if idle {
		if err := c.measureIdle(ctx, before, &found); err != nil {
			return found, err
		}
	}
	err = c.measureStorm(ctx, &found)
	return found, err
}

// measureStart starts all nodes and waits until they agree.
func (c *cluster) measureStart(ctx context.Context, digest []byte, found *clusterRound) error {
	began := time.Now()
	if err := c.startAll(ctx); err != nil {
		return err
	}
	err := c.together(func(m *core.Manager) error {
		return bootstrap.Agree(ctx, m, digest, len(c.members), slog.New(slog.DiscardHandler))
	}, func() error {
		err := c.waitConnected(ctx)
		found.Mesh = time.Since(began)
		return err
	})
	found.Bootstrap = time.Since(began)
	return err
}

// together does something with all nodes at once, and something else.
func (c *cluster) together(each func(m *core.Manager) error, beside func() error) error {
	errs := make([]error, len(c.members))
	var wg sync.WaitGroup
	for i, n := range c.members {
		if m := c.nodes[n.Name]; m != nil {
			wg.Go(func() { errs[i] = each(m) })
		}
	}
	err := beside()
	wg.Wait()
	return errors.Join(errors.Join(errs...), err)
}

// measureStorm kills the first node, starts it again at once, and waits until all others
// have had an answer from it.
func (c *cluster) measureStorm(ctx context.Context, found *clusterRound) error {
	name := c.members[0].Name
	c.kill(name)
	cpu, _ := processorTime()
	began := time.Now()
	if err := c.start(ctx, name); err != nil {
		return err
	}
	restarted := c.nodes[name]
	err := c.together(func(m *core.Manager) error {
		if m == restarted {
			return nil
		}
		return untilAnswered(ctx, m.Connection(name))
	}, func() error { return nil })
	found.Storm = time.Since(began)
	after, _ := processorTime()
	found.StormCPU = after - cpu
	return err
}

// untilAnswered calls until there is an answer: a call may still have been sent to the
// process that is no more, and then it fails when that is noticed.
func untilAnswered(ctx context.Context, to *core.Connection) error {
	for {
		_, err := to.Request(ctx, echoID, []byte("again"), core.WaitForConnection())
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// measureFresh starts a cluster, and reads what it takes. It is one of its own, for to agree takes calls,
// and to read between the two would be a part of how long they take.
func measureFresh(ctx context.Context, k kind, names []string, handlers func(*core.Manager) error) (*idleCost, error) {
	before := footprintNow()
	c, err := openCluster(ctx, k.open(onLoopback), names, nil, handlers)
	if err != nil {
		return nil, err
	}
	defer c.end(ctx)
	return footprintNow().since(before, c.connections()), nil
}

// connections is how many there are between the nodes.
func (c *cluster) connections() float64 {
	n := len(c.members)
	return float64(n * (n - 1) / 2)
}

// measureIdle lets every node call every other, and reads what the cluster takes a while later.
func (c *cluster) measureIdle(ctx context.Context, before footprint, found *clusterRound) error {
	err := c.together(func(m *core.Manager) error { return burst(ctx, m) }, func() error { return nil })
	if err == nil {
		err = pause(ctx, settleTime, nil)
	}
	if err == nil {
		found.Used = footprintNow().since(before, c.connections())
	}
	return err
}

// burst calls all peers.
func burst(ctx context.Context, m *core.Manager) error {
	payload := randomBytes(defaultSize)()
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	for to := range m.Connections() {
		for range burstCallers {
			wg.Go(func() {
				for range burstCalls {
					if _, err := to.Request(ctx, echoID, payload, core.WithTimeout(callTimeout)); err != nil {
						select {
						case failed <- err:
						default:
						}
						return
					}
				}
			})
		}
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// footprint is what the process has.
type footprint struct {
	heap, stacks uint64 // bytes
	goroutines   int
}

func footprintNow() footprint {
	// Twice, for what finalizers and pools give back at the first.
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{m.HeapAlloc, m.StackInuse, runtime.NumGoroutine()}
}

// since is what came since then, for each of so many. Stacks count apart: those of
// goroutines that ended before take part of what they stood in away with them, later.
func (f footprint) since(before footprint, of float64) *idleCost {
	more := func(now, then uint64) float64 { return max(float64(now)-float64(then), 0) }
	return &idleCost{
		Memory:     (more(f.heap, before.heap) + more(f.stacks, before.stacks)) / of,
		Goroutines: max(float64(f.goroutines-before.goroutines), 0) / of,
	}
}
