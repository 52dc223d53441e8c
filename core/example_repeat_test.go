package core_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core"
)

// A caller that repeats what is safe to repeat, with a pause that grows, and gives
// up in the end: not everything that is safe to repeat will ever succeed.
func ExampleOutcomeOf() {
	var asked atomic.Int32
	conn, stop := twoNodes(func(m *core.Manager) error {
		return m.Handle("log.append", func(context.Context, []byte) ([]byte, error) {
			if asked.Add(1) <= 2 {
				return nil, core.Refuse(errors.New("still reading the log"))
			}
			return []byte("position 7"), nil
		})
	})
	defer stop()

	call := func(ctx context.Context, h core.HandlerID, req []byte) ([]byte, error) {
		pause := 5 * time.Millisecond
		for attempt := 1; ; attempt++ {
			answer, err := conn.Request(ctx, h, req, core.WaitForConnection())
			if err == nil || attempt == 4 {
				return answer, err
			}
			if o := core.OutcomeOf(err); o != core.OutcomeNotSent && o != core.OutcomeRefused {
				return nil, err // the handler has run, or may have
			}
			select {
			case <-time.After(pause):
				pause *= 2
			case <-ctx.Done():
				return nil, err
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	answer, err := call(ctx, "log.append", []byte("entry"))
	fmt.Println(string(answer), err)

	_, err = call(ctx, "log.trim", nil)
	fmt.Println(errors.Is(err, core.ErrUnknownHandler))
	// Output:
	// position 7 <nil>
	// true
}

// Only the leader writes. The other nodes refuse, and say whom to ask: nothing has
// been done, so that the caller may ask elsewhere.
func ExampleRefuse() {
	errNotLeader := &core.RemoteError{Code: 1001, Message: "not the leader"}
	m, stop := fiveNodes(func(m *core.Manager, name string) error {
		return m.Handle("write", func(context.Context, []byte) ([]byte, error) {
			if leader := "c"; name != leader {
				return nil, core.Refuse(&core.RemoteError{
					Code: errNotLeader.Code, Message: errNotLeader.Message, Detail: []byte(leader),
				})
			}
			return []byte("written by " + name), nil
		})
	})
	defer stop()

	ctx := context.Background()
	answer, err := m.Connection("b").Request(ctx, "write", []byte("data"))
	fmt.Println(errors.Is(err, errNotLeader), core.OutcomeOf(err))
	if refusal, ok := errors.AsType[*core.RemoteError](err); ok {
		answer, err = m.Connection(string(refusal.Detail)).Request(ctx, "write", []byte("data"))
	}
	fmt.Println(string(answer), err)
	// Output:
	// true refused
	// written by c <nil>
}

// A call to a node that is not there yet fails at once, or waits for it, as the
// caller likes.
func ExampleWaitForConnection() {
	nodes, stop := newNodes([]string{"a", "b"}, nil, func(m *core.Manager) error {
		return m.Handle("greet", func(context.Context, []byte) ([]byte, error) { return []byte("hello"), nil })
	})
	defer stop()
	a, b := nodes[0], nodes[1]
	if err := a.Start(context.Background()); err != nil {
		log.Fatal(err)
	}

	_, err := a.Connection("b").Request(context.Background(), "greet", nil)
	fmt.Println(errors.Is(err, core.ErrDisconnected), core.OutcomeOf(err))

	start(b) // which takes a while to connect
	answer, err := a.Connection("b").Request(context.Background(), "greet", nil,
		core.WaitForConnection(), core.WithTimeout(time.Minute))
	fmt.Println(string(answer), err)
	// Output:
	// true not sent
	// hello <nil>
}
