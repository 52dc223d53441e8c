package faulty_test

import (
	"context"
	"fmt"

	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/faulty"
	"github.com/gridmux/gridmux/transport/inmem"
)

// serve answers every question until the listener is closed: what stands here
// for a service whose behaviour on a bad network is to be tested.
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

// A client whose link breaks in the middle of an answer, and is asked to dial
// again while the peer refuses. The transport is a simulated one for brevity;
// websocket.New goes in its place, and a Manager in that of the calls below.
func Example() {
	ctx := context.Background()
	network := inmem.NewNetwork()
	listener, err := network.Node("server").Listen(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	go serve(listener)

	client := faulty.Wrap(network.Node("client"))
	ask := func(question string) {
		c, err := client.Dial(ctx, transport.Peer{Name: "server"})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer func() { _ = c.CloseWithError(0, "") }()
		if err := c.WriteFrames([][]byte{[]byte(question)}); err != nil {
			fmt.Println(err)
			return
		}
		answer, err := c.ReadFrame(1 << 10)
		fmt.Printf("%q %v\n", answer, err)
	}
	ask("are you well?")
	client.CutAfter(faulty.In, 10)
	ask("and now?")
	client.RefuseDials()
	ask("anybody?")
	client.AllowDials()
	ask("again?")
	// Output:
	// "re: are you well?" <nil>
	// "" faulty: connection reset
	// faulty to server (): dial: connection refused
	// "re: again?" <nil>
}
