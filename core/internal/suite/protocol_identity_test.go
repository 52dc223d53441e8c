package suite_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
)

const rawDialler, rawAcceptor = "gridmux/1 dialler", "gridmux/1 acceptor"

// rawTranscript is the rule of W71, written down once more. said are the frames
// of both sides before PROOF.
func rawTranscript(role string, said, binding []byte) []byte {
	frames := sha256.Sum256(said)
	sum := sha256.Sum256(slices.Concat([]byte(role), []byte{0}, frames[:], binding))
	return sum[:]
}

// rawIdentity is what a node proves itself and its peers by: the rule of W72,
// written down once more.
type rawIdentity struct {
	shared  []byte // if not nil, and else
	private ed25519.PrivateKey
	public  func(name string) ed25519.PublicKey
}

func (id rawIdentity) prove(transcript []byte) []byte {
	if id.shared != nil {
		mac := hmac.New(sha256.New, id.shared)
		mac.Write(slices.Concat([]byte("gridmux/1 shared key\x00"), transcript))
		return mac.Sum(nil)
	}
	return ed25519.Sign(id.private, slices.Concat([]byte("gridmux/1 node key\x00"), transcript))
}

func (id rawIdentity) proves(name string, transcript, proof []byte) bool {
	if id.shared != nil {
		return bytes.Equal(id.prove(transcript), proof)
	}
	return ed25519.Verify(id.public(name), slices.Concat([]byte("gridmux/1 node key\x00"), transcript), proof)
}

// proof is PROOF of a role after what was said.
func (id rawIdentity) proof(role string, said []byte) []byte {
	return wire.AppendProof(nil, id.prove(rawTranscript(role, said, nil)))
}

// identityKind is one of the means that come with the library.
type identityKind struct {
	name string
	auth func(name string) core.Authenticator
	of   func(name string) rawIdentity // what the node of that name has
}

var testKey = []byte("a key of at least sixteen bytes")

// nodeKey is the key pair of a node.
func nodeKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicKey(name string) ed25519.PublicKey { return nodeKey(name).Public().(ed25519.PublicKey) }

// lookupKey knows the key of every node but mallory.
func lookupKey(name string) (ed25519.PublicKey, bool) {
	return publicKey(name), name != "mallory"
}

var identityKinds = []identityKind{
	{
		"shared key",
		func(string) core.Authenticator { return core.SharedKey(testKey) },
		func(string) rawIdentity { return rawIdentity{shared: testKey} },
	},
	{
		"node keys",
		func(name string) core.Authenticator { return core.NodeKeys(nodeKey(name), lookupKey) },
		func(name string) rawIdentity { return rawIdentity{private: nodeKey(name), public: publicKey} },
	},
}

// takeSaid takes a frame of the handshake, whose bytes it returns.
func (p *rawPeer) takeSaid(typ wire.Type) []byte {
	p.t.Helper()
	return rawFrame(p.want(typ, "the handshake goes on"))
}

// introduce goes through the handshake up to its own PROOF and returns what was
// said until then.
func (p *rawPeer) introduce(hello []byte) (said []byte) {
	p.t.Helper()
	own := rawInit(1, 1)
	if p.side == 0 {
		p.write(own)
		said = append(own, p.takeSaid(wire.TypeInit)...)
	} else {
		said = append(p.takeSaid(wire.TypeInit), own...)
		p.write(own)
		said = append(said, p.takeSaid(wire.TypeHello)...)
		said = append(said, p.takeSaid(wire.TypeProof)...)
	}
	p.write(hello)
	return append(said, hello...)
}

// handshakeAs goes through the handshake as id and holds the subject to its
// proof.
func (p *rawPeer) handshakeAs(id rawIdentity) {
	p.t.Helper()
	var said, proof []byte
	subject := rawDialler
	if p.side == 0 {
		said = p.introduce(p.helloBytes())
		own := id.proof(rawDialler, said)
		p.write(own)
		said = append(said, own...)
		hello := p.want(wire.TypeHello, "the dialler has proved itself")
		p.hello, _ = wire.ParseHello(&hello)
		said = append(said, rawFrame(hello)...)
		proof, subject = p.takeSaid(wire.TypeProof), rawAcceptor
		p.write(wire.AppendReady(nil))
	} else {
		said = p.takeSaid(wire.TypeInit)
		own := rawInit(1, 1)
		p.write(own)
		said = append(said, own...)
		said = append(said, p.takeSaid(wire.TypeHello)...)
		proof = p.takeSaid(wire.TypeProof)
		theirs := slices.Clone(said)
		own = p.helloBytes()
		all := slices.Concat(said, proof, own)
		p.write(own)
		p.write(id.proof(rawAcceptor, all))
		p.want(wire.TypeReady, "the dialler finds no fault")
		said = theirs
	}
	synctest.Wait() // the subject has a session
	if !id.proves(rawSubject, rawTranscript(subject, said, nil), proof[wire.HeaderSize:]) {
		p.t.Errorf("the PROOF of the subject as %s is not what W71 and W72 make of the handshake", subject)
	}
}

// TestProtocolProofs holds both roles of a node to W70, W71 and W72, against an
// implementation of the test's own.
func TestProtocolProofs(t *testing.T) {
	for _, kind := range identityKinds {
		for _, dials := range []bool{false, true} {
			rawTest(t, fmt.Sprintf("W71 W72 %s, the subject dials %v", kind.name, dials), rawSetup{auth: kind.auth, dials: dials}, func(_ *testing.T, r *rawCluster) {
				for range 3 {
					var p *rawPeer
					if dials {
						p = r.accept()
					} else {
						p = r.dial()
					}
					p.handshakeAs(kind.of(r.raw))
					p.wantLife(0, "a node that has proved itself")
					p.tc.CloseWithError(0, "")
				}
			})
		}
	}
	// Without TLS at either end there is nothing to bind to, whatever a proxy
	// may do, and bits that are not known say nothing. With a proxy that both
	// allow nothing is bound, wherever TLS is spoken.
	for _, proxy := range []bool{false, true} {
		setup := rawSetup{auth: identityKinds[0].auth, config: func(cfg *core.Config) { cfg.AllowTLSProxy = proxy }}
		rawTest(t, fmt.Sprintf("W70 the subject allows a proxy: %v", proxy), setup, func(t *testing.T, r *rawCluster) {
			for link, good := range map[wire.LinkFlags]bool{
				0: true, wire.LinkProxy: true, 0xfc: true, 0xff: proxy,
				wire.LinkTLS: false, wire.LinkTLS | wire.LinkProxy: proxy,
			} {
				p := r.dial()
				own := wire.AppendInit(nil, &wire.Init{MinVersion: 1, MaxVersion: 1, Link: link})
				p.write(own)
				subject := p.takeSaid(wire.TypeInit)
				if allows := subject[wire.HeaderSize+6]; (allows == byte(wire.LinkProxy)) != proxy || allows&byte(wire.LinkTLS) > 0 {
					t.Errorf("W70: the subject says %#x of its link without TLS", allows)
				}
				if !good {
					p.wantRejected("W70: TLS at one end only")
					continue
				}
				said, hello := append(own, subject...), p.helloBytes()
				p.write(hello)
				p.write(rawIdentity{shared: testKey}.proof(rawDialler, append(said, hello...)))
				p.takeHello()
				p.wantLife(0, "W70: nothing to bind to")
				p.tc.CloseWithError(0, "")
			}
		})
	}
}
