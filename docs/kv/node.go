package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/payload"
)

// followPause is between the end of a stream from a peer and the next one.
const followPause = 100 * time.Millisecond

// Node serves Get, Put and Watch on one node of the cluster, and keeps a replica.
// All nodes are alike: whichever is called asks as many others as make a majority
// with it. Any two majorities have a node in common, so that a read sees every
// write that was completed before it, whichever nodes they went through.
type Node struct {
	manager *core.Manager
	replica *replica
}

// NewNode registers the service with the Manager of a node. Call it before
// Manager.Start, and Follow after it.
func NewNode(m *core.Manager) (*Node, error) {
	n := &Node{manager: m, replica: newReplica()}
	return n, errors.Join(
		Get.Handle(m, n.get),
		Put.Handle(m, n.put),
		Watch.Handle(m, n.watch),
		load.Handle(m, n.load),
		store.Handle(m, n.store),
	)
}

func (n *Node) get(ctx context.Context, req *GetRequest) (*Entry, error) {
	if err := checkKey(req.Key); err != nil {
		return nil, err
	}
	entry, agreed, err := n.newest(ctx, req.Key)
	if err == nil && !agreed {
		// A Put was not completed, or not yet. Whoever reads after this read must
		// not get an older value, so a majority has to have it first.
		err = n.write(ctx, &entry)
	}
	switch {
	case err != nil:
		return nil, because(ErrNoMajority, err)
	case entry.Version == 0:
		return nil, ErrNoKey
	}
	return &entry, nil
}

func (n *Node) put(ctx context.Context, req *PutRequest) (*PutResponse, error) {
	if err := checkKey(req.Key); err != nil {
		return nil, err
	}
	known, _, err := n.newest(ctx, req.Key)
	if err != nil {
		return nil, core.Refuse(because(ErrNoMajority, err)) // nothing was written
	}
	version := n.replica.nextVersion(known.Version)
	err = n.write(ctx, &Entry{Key: req.Key, Value: req.Value, Version: version, Writer: n.manager.Local().Name})
	if err != nil {
		return nil, because(ErrMaybeWritten, err)
	}
	return &PutResponse{Version: version}, nil
}

// newest returns the newest entry that a majority knows of, and whether all of
// that majority have it.
func (n *Node) newest(ctx context.Context, key string) (newest Entry, agreed bool, err error) {
	answers, err := askMajority(ctx, n, func(ctx context.Context, peer *core.Connection) (*Entry, error) {
		return load.Call(ctx, peer, &GetRequest{Key: key})
	})
	newest, agreed = n.replica.get(key), true
	for _, a := range answers {
		order := a.Value.compare(&newest)
		agreed = agreed && order == 0
		if order > 0 {
			newest = *a.Value
		}
	}
	return newest, agreed, err
}

// write returns when a majority has the entry. Peers that are slower are not waited
// for: their calls are cancelled, and if that came too early, Follow makes up for it.
func (n *Node) write(ctx context.Context, e *Entry) error {
	n.replica.apply(*e)
	_, err := askMajority(ctx, n, func(ctx context.Context, peer *core.Connection) (*payload.None, error) {
		return store.Call(ctx, peer, e)
	})
	return err
}

// askMajority makes a call to all peers at once and returns the answers of as many
// as are a majority together with this node.
func askMajority[R any](
	ctx context.Context, n *Node, call func(ctx context.Context, peer *core.Connection) (R, error),
) ([]core.Answer[R], error) {
	peers := slices.Collect(n.manager.Connections())
	return core.Quorum(ctx, slices.Values(peers), (len(peers)+1)/2, call)
}

func (n *Node) load(_ context.Context, req *GetRequest) (*Entry, error) {
	entry := n.replica.get(req.Key)
	return &entry, nil
}

func (n *Node) store(_ context.Context, entry *Entry) (*payload.None, error) {
	n.replica.apply(*entry)
	return &payload.None{}, nil
}

func (n *Node) watch(ctx context.Context, req *WatchRequest, send func(*Entry) error) error {
	w := n.replica.watch(req.Prefix)
	defer n.replica.unwatch(w)
	for {
		select {
		case <-w.changed:
		case <-core.Draining(ctx):
			return ErrLeaving // Shutdown waits for this
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for _, entry := range n.replica.take(w) {
			if err := send(&entry); err != nil {
				return err
			}
		}
	}
}

// Follow watches all peers until ctx ends. So the node learns what a write has not
// brought it, after a partition for example, at the price of one more message per
// peer and write.
func (n *Node) Follow(ctx context.Context) {
	var peers sync.WaitGroup
	for peer := range n.manager.Connections() {
		peers.Go(func() {
			for ctx.Err() == nil {
				for entry, err := range Watch.Call(ctx, peer, &WatchRequest{}, core.WaitForConnection()) {
					if err != nil {
						break // begin anew, with all that the peer has
					}
					n.replica.apply(*entry)
				}
				select {
				case <-time.After(followPause):
				case <-ctx.Done():
				}
			}
		})
	}
	peers.Wait()
}

// because returns the answer with its cause as text alone: the errors of other
// nodes have codes too, which are not for the client.
func because(answer *core.RemoteError, cause error) error {
	return &core.RemoteError{Code: answer.Code, Message: answer.Message + ": " + cause.Error()}
}

func checkKey(key string) error {
	if key == "" || len(key) > 256 {
		return ErrBadKey // not refused: a repeat is of no use
	}
	return nil
}
