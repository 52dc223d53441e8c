package core_test

import (
	"context"
	"log"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport/inmem"
)

// newNodes makes a node for each name, all of them peers in one network in
// memory, and returns their Managers in that order. configure changes the
// configuration of each before it is made, register says what it serves; either
// may be nil.
func newNodes(names []string, configure func(cfg *core.Config), register func(m *core.Manager) error) (managers []*core.Manager, stop func()) {
	network := inmem.NewNetwork()
	nodes := members(names...)
	for _, n := range nodes {
		cfg := core.Config{Local: n, Peers: nodes, Transport: network.Node(n.Name)}
		if configure != nil {
			configure(&cfg)
		}
		m, err := core.NewManager(cfg)
		if err == nil && register != nil {
			err = register(m)
		}
		if err != nil {
			log.Fatal(err)
		}
		managers = append(managers, m)
	}
	return managers, func() {
		for _, m := range managers {
			_ = m.Close()
		}
	}
}

// members is the list of the nodes with these names.
func members(names ...string) []core.Node {
	var nodes []core.Node
	for _, name := range names {
		nodes = append(nodes, core.Node{Name: name, Addr: name + ":1"})
	}
	return nodes
}

// startNodes makes nodes as newNodes does and starts them; the first is connected
// to all others when it returns.
func startNodes(names []string, configure func(cfg *core.Config), register func(m *core.Manager) error) (managers []*core.Manager, stop func()) {
	managers, stop = newNodes(names, configure, register)
	start(managers...)
	if err := managers[0].WaitConnected(context.Background()); err != nil {
		log.Fatal(err)
	}
	return managers, stop
}

func start(managers ...*core.Manager) {
	for _, m := range managers {
		if err := m.Start(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
}

// twoNodes starts nodes a and b, which serve what register says, and returns a's
// connection to b.
func twoNodes(register func(m *core.Manager) error) (toB *core.Connection, stop func()) {
	managers, stop := startNodes([]string{"a", "b"}, nil, register)
	return managers[0].Connection("b"), stop
}

// fiveNodes starts nodes a to e, each of which serves what register says, and
// returns the Manager of a, connected to all others.
func fiveNodes(register func(m *core.Manager, name string) error) (a *core.Manager, stop func()) {
	managers, stop := startNodes([]string{"a", "b", "c", "d", "e"}, nil, func(m *core.Manager) error {
		return register(m, m.Local().Name)
	})
	return managers[0], stop
}
