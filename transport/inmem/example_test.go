package inmem_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// Two nodes exchange a frame. A program hands the transports to its Managers
// instead and calls none of these methods itself.
func Example() {
	ctx := context.Background()
	network := inmem.NewNetwork()

	listener, err := network.Node("b").Listen(ctx, "b:9000")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()

	a, err := network.Node("a").Dial(ctx, transport.Peer{Name: "b", Addr: "b:9000"})
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := listener.Accept(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}

	if err := a.WriteFrames([][]byte{[]byte("hello"), []byte("world")}); err != nil {
		fmt.Println(err)
	}
	_ = a.CloseWithError(0, "done")
	for {
		frame, err := b.ReadFrame(1024)
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%s\n", frame)
	}
	_ = b.CloseWithError(0, "")
	// Output:
	// hello
	// world
	// closed by the peer with code 0: "done"
}

// ask sends a question and waits for the answer: what stands here for a service
// whose behaviour on a bad network is to be tested.
func ask(c transport.Conn, question string) (string, error) {
	if err := c.WriteFrames([][]byte{[]byte(question)}); err != nil {
		return "", err
	}
	answer, err := c.ReadFrame(1 << 10)
	return string(answer), err
}

// serve answers every question until the connection ends.
func serve(l transport.Listener) {
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			return
		}
		go func() {
			for {
				question, err := c.ReadFrame(1 << 10)
				if err != nil {
					_ = c.CloseWithError(0, "")
					return
				}
				_ = c.WriteFrames([][]byte{append([]byte("re: "), question...)})
			}
		}()
	}
}

// A service under a link that is slow one way, and under one that breaks in the
// middle of an answer.
func ExampleNetwork_SetPathConditions() {
	ctx := context.Background()
	network := inmem.NewNetwork(inmem.WithSeed(42)) // the same jitter in every run
	listener, err := network.Node("server").Listen(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	go serve(listener)

	network.SetPathConditions("server", "client", inmem.Conditions{
		Latency:   2 * time.Millisecond,
		Jitter:    time.Millisecond,
		Bandwidth: 1 << 20,
	})
	c, err := network.Node("client").Dial(ctx, transport.Peer{Addr: "server"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ask(c, "are you well?"))

	network.CutAfter("server", "client", 10)
	fmt.Println(ask(c, "and now?"))
	_ = c.CloseWithError(0, "")
	// Output:
	// re: are you well? <nil>
	//  inmem: connection reset
}
