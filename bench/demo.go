package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gridmux/gridmux/core"
)

const (
	// demoTimeout bounds what is shown over one transport. It takes well under
	// a second if nothing is wrong.
	demoTimeout = 20 * time.Second
	// downTime is how long the node stays dead: long enough for the others to
	// have tried in vain to connect to it.
	downTime = 250 * time.Millisecond
	// demoKeepAlive is how often nodes look whether they have heard of each other,
	// and how long they then wait. Where a dead process leaves nothing behind that says
	// so, as over UDP, this is how it is noticed, and the default would take long to show.
	demoKeepAlive = 500 * time.Millisecond
	// repeats is how many calls the usual latency is the median of.
	repeats = 200
	// exchanged is how many messages a stream has each way.
	exchanged = 100

	waitID     = core.HandlerID("bench.wait")
	exchangeID = core.HandlerID("bench.exchange")
)

// demo shows a cluster of three nodes at work.
type demo struct {
	*cluster

	out    io.Writer
	begun  time.Time
	states chan core.StateChange // what a sees of b
	atWork chan struct{}         // b's handler of a call that waits has begun
}

// demonstrate brings up three nodes over a transport, calls, kills one, starts
// it again, and prints what happens. Its error says what did not.
func demonstrate(ctx context.Context, k kind, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	fmt.Fprintf(out, "\n%s (%s)\n", k.name, k.about)
	d := &demo{
		out:    out,
		begun:  time.Now(),
		states: make(chan core.StateChange, 16),
		atWork: make(chan struct{}, 1),
	}
	var err error
	if d.cluster, err = openCluster(ctx, k.open(onLoopback), []string{"a", "b", "c"}, d.watch, d.serve); err != nil {
		return err
	}
	defer d.end(ctx)
	d.sayf("all three are up, each connected to both others")
	for _, step := range []func(context.Context) error{d.call, d.stream, d.killB, d.healB} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// watch makes a tell what it sees of b, and all notice soon what is gone.
func (d *demo) watch(cfg *core.Config) {
	cfg.KeepAlive, cfg.KeepAliveTimeout = demoKeepAlive, demoKeepAlive
	if cfg.Local.Name != "a" {
		return
	}
	cfg.OnState = func(change core.StateChange) {
		if change.Peer != "b" {
			return
		}
		select {
		case d.states <- change:
		default: // nobody looks at it any more
		}
	}
}

func (d *demo) serve(m *core.Manager) error {
	return errors.Join(serveEcho(m), m.HandleStreamFunc(exchangeID, answerEach), m.Handle(waitID, d.wait))
}

// wait is the handler of a call that is to last.
func (d *demo) wait(ctx context.Context, _ []byte) ([]byte, error) {
	select {
	case d.atWork <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// call shows a call.
func (d *demo) call(ctx context.Context) error {
	first, err := d.echo(ctx, "b")
	if err != nil {
		return err
	}
	usual, err := d.usualEcho(ctx, "b")
	if err != nil {
		return err
	}
	d.sayf("a calls b: the first answer takes %v, the usual one %v", round3(first), round3(usual))
	return nil
}

// answerEach sends back what it gets until the other side has no more.
func answerEach(_ context.Context, _ []byte, s *core.RawStream) error {
	for {
		msg, err := s.Recv(nil)
		if err == io.EOF { //nolint:errorlint // Recv returns it as it is.
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(msg); err != nil {
			return err
		}
	}
}

// stream shows a stream.
func (d *demo) stream(ctx context.Context) error {
	began := time.Now()
	s, err := d.connection("b").OpenStream(ctx, exchangeID, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	for i := range exchanged {
		msg := fmt.Sprintf("message %d", i+1)
		if err := s.Send([]byte(msg)); err != nil {
			return err
		}
		answer, err := s.Recv(nil)
		if err != nil {
			return err
		}
		if string(answer) != msg {
			return errWrongAnswer
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	if _, err := s.Recv(nil); err != io.EOF { //nolint:errorlint // Recv returns it as it is.
		return fmt.Errorf("a stream that had to end: %w", cmp.Or(err, errWrongAnswer))
	}
	d.sayf("a opens a stream to b: %d messages, each answered before the next, take %v", exchanged, round3(time.Since(began)))
	return nil
}

// killB shows what becomes of calls to a node that is killed, and what the
// others see of it.
func (d *demo) killB(ctx context.Context) error {
	if err := d.awaitState(ctx, core.StateConnected, nil); err != nil {
		return err
	}
	inProgress := make(chan error, 1)
	ab := d.connection("b")
	go func() {
		_, err := ab.Request(ctx, waitID, nil)
		inProgress <- err
	}()
	select {
	case <-d.atWork:
	case err := <-inProgress:
		return fmt.Errorf("a call that was to last: %w", orUnexpected(err))
	case <-ctx.Done():
		return errors.New("a call that was to last did not reach its handler")
	}
	d.sayf("b is killed, with a call from a in progress")
	killed := time.Now()
	d.kill("b")

	var change core.StateChange
	if err := d.awaitState(ctx, core.StateConnecting, &change); err != nil {
		return err
	}
	d.sayf("a sees b go from %v to %v, %v after the kill", change.From, change.To, round3(change.At.Sub(killed)))
	// Its own deadline is the demo's, so it ends.
	if err := d.sayFailure("the call in progress fails", <-inProgress); err != nil {
		return err
	}
	_, err := ab.Request(ctx, echoID, nil)
	if err := d.sayFailure("a new call fails at once", err); err != nil {
		return err
	}
	usual, err := d.usualEcho(ctx, "c")
	if err != nil {
		return err
	}
	d.sayf("a's calls to c are not affected, the usual one takes %v", round3(usual))
	return nil
}

// healB shows how the cluster is whole again.
func (d *demo) healB(ctx context.Context) error {
	if err := pause(ctx, downTime, nil); err != nil {
		return err
	}
	d.sayf("b is started again, after being down for %v", downTime)
	restarted := time.Now()
	if err := d.start(ctx, "b"); err != nil {
		return err
	}
	waited, err := d.echo(ctx, "b", core.WaitForConnection())
	if err != nil {
		return err
	}
	var change core.StateChange
	if err := d.awaitState(ctx, core.StateConnected, &change); err != nil {
		return err
	}
	d.sayf("a and b are connected again, %v after the start", round3(change.At.Sub(restarted)))
	d.sayf("a call that waited for this (WaitForConnection) has taken %v", round3(waited))
	if err := d.waitConnected(ctx); err != nil {
		return err
	}
	d.sayf("the cluster is whole again")
	return nil
}

// awaitState waits until a sees b in a state, and tells how it came there.
func (d *demo) awaitState(ctx context.Context, want core.State, how *core.StateChange) error {
	for {
		select {
		case change := <-d.states:
			if change.To != want {
				continue
			}
			if how != nil {
				*how = change
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("a was not told that b is %v, its state is %v", want, d.connection("b").State())
		}
	}
}

// echo makes one call from a and returns what it took.
func (d *demo) echo(ctx context.Context, to string, opts ...core.CallOption) (time.Duration, error) {
	const hello = "hello"
	began := time.Now()
	answer, err := d.connection(to).Request(ctx, echoID, []byte(hello), opts...)
	took := time.Since(began)
	if err == nil && string(answer) != hello {
		err = errWrongAnswer
	}
	return took, err
}

// usualEcho returns the median of what some calls take.
func (d *demo) usualEcho(ctx context.Context, to string) (time.Duration, error) {
	var took []time.Duration
	for range repeats {
		t, err := d.echo(ctx, to)
		if err != nil {
			return 0, err
		}
		took = append(took, t)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// sayf prints a line about what just happened.
func (d *demo) sayf(format string, args ...any) {
	fmt.Fprintf(d.out, "%8.1f ms  %s\n", float64(time.Since(d.begun).Microseconds())/1000, fmt.Sprintf(format, args...))
}

// sayFailure prints the error that a call had to fail with.
func (d *demo) sayFailure(what string, err error) error {
	if _, ok := errors.AsType[*core.CallError](err); !ok {
		return fmt.Errorf("%s: %w", what, orUnexpected(err))
	}
	outcome := core.OutcomeOf(err)
	advice := "repeat with care"
	if outcome == core.OutcomeNotSent || outcome == core.OutcomeRefused {
		advice = "safe to repeat"
	}
	d.sayf("%s, outcome: %v (%s)", what, outcome, advice)
	d.quote(err.Error())
	return nil
}

// quote prints a text below the line before it.
func (d *demo) quote(s string) {
	indent := strings.Repeat(" ", 13)
	fmt.Fprintln(d.out, indent+strings.ReplaceAll(wrap(s, lineWidth-len(indent)), "\n", "\n"+indent))
}

// orUnexpected stands in for the error of what should have failed.
func orUnexpected(err error) error {
	if err == nil {
		return errors.New("it succeeded, with the node at the other end dead")
	}
	return err
}
