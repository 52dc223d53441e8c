//go:build linux || darwin

package proctest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/websocket"
)

// childVariable is the environment variable whose presence makes this program a
// child; its value is the child's spec in JSON.
const childVariable = "GRIDMUX_PROCTEST_CHILD"

// spec says what a child is.
type spec struct {
	Node   core.Node
	Peers  []core.Node
	Ledger string // path of the file that its handlers append to; "": none
	// Inherited: the parent's listening socket is descriptor 3.
	Inherited bool
	// ReportAt: an event is to say when so many handlers have begun.
	ReportAt int64

	// Latency of all connections, on the side of the child.
	Latency time.Duration

	MaxHandlers                         int
	KeepAlive, KeepAliveTimeout         time.Duration
	MaxBackoff                          time.Duration
	MaxDescriptors, MaxMoreAddressSpace uint64 // of the process; 0: as inherited
	MemoryLimit                         int64  // as GOMEMLIMIT, in bytes; 0: none
}

// event is a line that a child writes to its standard output.
type event struct {
	Kind string // one of those below
	ID   int    // of the command that a reply answers
	Peer string
	To   string // of a change of state
	Err  string
	// Of a call: what its error says.
	Outcome  core.Outcome
	Deadline bool // it matches context.DeadlineExceeded
	Calls    int  // of the load: those that were made, each of them until it succeeded
	Failed   int  // of the load: those that may have run
	Repeats  int  // of the load: how often a call was repeated
}

// Kinds of events.
const (
	listening = "listening" // the Manager is started
	stateIs   = "state"     // a peer changed its state
	began     = "began"     // as many handlers as spec.ReportAt have begun
	replied   = "reply"     // to a command
	loadOver  = "load over" // the calls of the load, at the end of the process
)

// command is a line that a child reads from its standard input.
type command struct {
	ID      int
	Op      string
	Peer    string
	Request []byte
	Timeout time.Duration
	Wait    bool // the call waits for a connection
	Rate    int  // of the load, calls per second
}

// Ops of commands. All but the load are answered by one reply.
const (
	opCall  = "call"  // calls workHandler of a peer
	opAwait = "await" // waits for a connection to a peer
	opOpen  = "open"  // opens a file, for which the child needs a descriptor
	opState = "state" // tells the state of a peer
	opLoad  = "load"  // calls all peers in turn, until SIGTERM
	opRest  = "rest"  // ends the load
)

// role is the process of a child.
type role struct {
	spec spec
	m    *core.Manager
	mu   sync.Mutex
	out  *json.Encoder // guarded by mu
	load load
}

// runChild is the life of a child. It ends when its parent closes its standard
// input, or dies; and, after a drain, on SIGTERM.
func runChild(text string) (code int) {
	r := &role{out: json.NewEncoder(os.Stdout)}
	if err := r.run(text); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

func (r *role) run(text string) error {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	if err := json.Unmarshal([]byte(text), &r.spec); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	r.tell(event{Kind: listening})
	orphaned := make(chan struct{})
	go func() {
		defer close(orphaned)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			var c command
			if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
				return
			}
			go r.obey(c)
		}
	}()
	select {
	case <-orphaned:
		return nil
	case <-terminated:
	}
	// The service first ends what it does itself, then what it does for others.
	r.load.stop()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := r.m.Shutdown(ctx)
	r.tell(r.load.report())
	return err
}

func (r *role) start() error {
	if err := limitProcess(&r.spec); err != nil {
		return err
	}
	w := &worker{at: r.spec.ReportAt, told: func() { r.tell(event{Kind: began}) }}
	if r.spec.Ledger != "" {
		f, err := os.OpenFile(r.spec.Ledger, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		w.file = f
	}
	opts, err := r.options()
	if err != nil {
		return err
	}
	m, err := core.NewManager(core.Config{
		Cluster: clusterName, Local: r.spec.Node, Peers: r.spec.Peers, AllowInsecure: true,
		Transport:   websocket.New(opts),
		MaxHandlers: r.spec.MaxHandlers, MaxHandlersTotal: r.spec.MaxHandlers,
		KeepAlive: r.spec.KeepAlive, KeepAliveTimeout: r.spec.KeepAliveTimeout, MaxBackoff: r.spec.MaxBackoff,
		OnState: func(c core.StateChange) {
			r.tell(event{Kind: stateIs, Peer: c.Peer, To: c.To.String(), Err: errorText(c.Err)})
		},
	})
	if err != nil {
		return err
	}
	r.m = m
	if err := errors.Join(m.Handle(workHandler, w.handle), m.Handle("echo", echo)); err != nil {
		return err
	}
	return m.Start(context.Background())
}

func (r *role) options() (opts websocket.Options, err error) {
	switch {
	case r.spec.Inherited:
		opts.Listener, err = net.FileListener(os.NewFile(3, "listener"))
	case r.spec.Latency > 0:
		var ln net.Listener
		ln, err = net.Listen("tcp", r.spec.Node.Addr)
		opts.Listener = slowListener{ln, r.spec.Latency}
		opts.DialContext = slowDial(r.spec.Latency)
	}
	return opts, err
}

func (r *role) tell(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.out.Encode(e) //nolint:errchkjson // Nobody is left to tell that the parent is gone.
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// obey carries out a command.
func (r *role) obey(c command) {
	e := event{Kind: replied, ID: c.ID, Peer: c.Peer}
	conn := r.m.Connection(c.Peer)
	var err error
	switch c.Op {
	case opCall:
		var opts []core.CallOption
		if c.Timeout != 0 {
			opts = append(opts, core.WithTimeout(c.Timeout))
		}
		if c.Wait {
			opts = append(opts, core.WaitForConnection())
		}
		_, err = conn.Request(context.Background(), workHandler, c.Request, opts...)
	case opAwait:
		ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
		defer cancel()
		err = conn.WaitConnected(ctx)
	case opOpen:
		var f *os.File
		if f, err = os.Open(os.DevNull); err == nil {
			f.Close()
		}
	case opState:
		e.To = conn.State().String()
	case opLoad:
		r.load.start(r.m, r.spec.Node.Name, r.spec.Peers, c.Rate)
		return
	case opRest:
		r.load.stop()
	}
	e.Err, e.Outcome, e.Deadline = errorText(err), core.OutcomeOf(err), errors.Is(err, context.DeadlineExceeded)
	r.tell(e)
}
