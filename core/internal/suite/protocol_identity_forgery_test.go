package suite_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// refusal is all that a dialler that is refused can see: bytes, how the
// connection ended, and when.
func (p *rawPeer) refusal(began time.Time) string {
	p.t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	closed, _ := errors.AsType[*transport.CloseError](p.err)
	return fmt.Sprintf("%x, %+v, after %v", bytes.Join(p.batches, nil), closed, p.endedAt.Sub(began))
}

// rejectedWithoutAWord is a refusal by W57.
var rejectedWithoutAWord = fmt.Sprintf("%x, %+v, after 0s",
	wire.AppendStatus(nil, wire.TypeReject, 0, wire.Status{Code: wire.CodeRejected}),
	&transport.CloseError{Code: uint32(wire.CodeRejected)})

// forgeries are the proofs of diallers that must not get in, given what was
// said before PROOF.
func forgeries(kind identityKind, raw string) map[string]func(said []byte) []byte {
	own := kind.of(raw)
	proofOf := func(id rawIdentity) func(said []byte) []byte {
		return func(said []byte) []byte { return id.proof(rawDialler, said) }
	}
	proves := func(transcript func(said []byte) []byte) func(said []byte) []byte {
		return func(said []byte) []byte { return wire.AppendProof(nil, own.prove(transcript(said))) }
	}
	good := func(said []byte) []byte { return own.prove(rawTranscript(rawDialler, said, nil)) }
	all := map[string]func(said []byte) []byte{
		"a shared key that is wrong":   proofOf(rawIdentity{shared: []byte("another key of at least 16 bytes")}),
		"a shared key of no bytes":     proofOf(rawIdentity{shared: []byte{}}),
		"the key of a node of no name": proofOf(rawIdentity{private: nodeKey("")}),
		"the key of another node":      proofOf(rawIdentity{private: nodeKey(rawHonest)}),
		"the key of the subject":       proofOf(rawIdentity{private: nodeKey(rawSubject)}),
		"the key of the unknown":       proofOf(rawIdentity{private: nodeKey("mallory")}),
		"an empty proof":               func([]byte) []byte { return wire.AppendProof(nil, nil) },
		"zeros":                        func([]byte) []byte { return wire.AppendProof(nil, make([]byte, 64)) },
		"the longest proof":            func([]byte) []byte { return wire.AppendProof(nil, make([]byte, wire.MaxProof)) },
		"the transcript":               func(said []byte) []byte { return wire.AppendProof(nil, rawTranscript(rawDialler, said, nil)) },
		"a proof that is cut":          func(said []byte) []byte { b := good(said); return wire.AppendProof(nil, b[:len(b)-1]) },
		"a proof and a byte":           func(said []byte) []byte { return wire.AppendProof(nil, append(good(said), 0)) },
		"the other role":               func(said []byte) []byte { return own.proof(rawAcceptor, said) },
		"no role":                      func(said []byte) []byte { return own.proof("", said) },
		"HELLO alone":                  func(said []byte) []byte { return own.proof(rawDialler, said[2*len(rawInit(1, 1)):]) },
		"no transcript":                proves(func([]byte) []byte { return nil }),
		"another binding":              proves(func(said []byte) []byte { return rawTranscript(rawDialler, said, make([]byte, 32)) }),
		"no PROOF but PING":            func([]byte) []byte { return wire.AppendPing(nil, wire.TypePing, 1) },
		"no PROOF but PADDING":         func([]byte) []byte { return rawFrame(wire.Frame{Body: make([]byte, 32)}) },
		"no PROOF but a REQUEST": func([]byte) []byte {
			return wire.AppendRequest(nil, wire.MakeCallID(1, 0, 0), rawHash("echo"), 0, 0, nil)
		},
	}
	if own.shared != nil {
		all["a proof without its label"] = func(said []byte) []byte {
			mac := hmac.New(sha256.New, testKey)
			mac.Write(rawTranscript(rawDialler, said, nil))
			return wire.AppendProof(nil, mac.Sum(nil))
		}
	} else {
		all["a proof without its label"] = func(said []byte) []byte {
			return wire.AppendProof(nil, ed25519.Sign(own.private, rawTranscript(rawDialler, said, nil)))
		}
	}
	return all
}

// TestProtocolImpostors has diallers without the right key try everything. All
// get the same bytes at once and nothing else (W57), whatever the cause, and
// the node whose name they claim keeps its session and its calls (W63: it is not
// even asked whether it lives) (T14, T15, T16, T18).
func TestProtocolImpostors(t *testing.T) {
	for _, kind := range identityKinds {
		rawTest(t, "W57 W71 W72 "+kind.name, rawSetup{auth: kind.auth}, func(t *testing.T, r *rawCluster) {
			recorded := r.recordDialler(kind.of(r.raw))
			twin := r.dial()
			twin.handshakeAs(kind.of(r.raw))
			call, answer := twin.called()
			refused := func(name string, attack func(p *rawPeer)) {
				t.Helper()
				began, p := time.Now(), r.dial()
				attack(p)
				if got := p.refusal(began); got != rejectedWithoutAWord {
					t.Errorf("%s: the stranger sees %s, want no more than %s", name, got, rejectedWithoutAWord)
				}
				twin.wantIdle(name + ": the session of the real node")
			}
			for name, forge := range forgeries(kind, r.raw) {
				refused(name, func(p *rawPeer) { p.write(forge(p.introduce(p.helloBytes()))) })
			}
			wrong := rawIdentity{shared: []byte("another key of at least 16 bytes"), private: nodeKey("nobody")}
			for name, change := range map[string]func(h *wire.Hello){
				"a name that nobody knows": func(h *wire.Hello) { h.From = "mallory" },
				"the name of the subject":  func(h *wire.Hello) { h.From = rawSubject },
				"the name of an honest":    func(h *wire.Hello) { h.From = rawHonest },
				"another cluster":          func(h *wire.Hello) { h.Cluster = "staging" },
				"meant for another":        func(h *wire.Hello) { h.To = "elsewhere" },
				"a malformed HELLO":        func(h *wire.Hello) { h.MaxFrame = 1 },
			} {
				refused(name+" and a wrong key", func(p *rawPeer) { p.write(wrong.proof(rawDialler, p.introduce(p.helloBytes(change)))) })
			}
			refused("a replay", func(p *rawPeer) {
				p.write(recorded.init)
				p.takeSaid(wire.TypeInit)
				p.write(recorded.hello)
				p.write(recorded.proof)
			})
			refused("the subject's own proof", func(p *rawPeer) {
				p.introduce(p.helloBytes())
				p.write(recorded.subjects)
			})
			// A proof of what was not said: one bit less or more anywhere.
			var said []byte
			for at := 0; at == 0 || at < len(said); at++ {
				refused(fmt.Sprintf("bit %d of byte %d", at%8, at), func(p *rawPeer) {
					said = p.introduce(p.helloBytes())
					changed := slices.Clone(said)
					changed[at] ^= 1 << (at % 8)
					p.write(kind.of(r.raw).proof(rawDialler, changed))
				})
			}
			for at := range len(recorded.proof) - wire.HeaderSize {
				refused(fmt.Sprintf("a proof with byte %d changed", at), func(p *rawPeer) {
					proof := kind.of(r.raw).proof(rawDialler, p.introduce(p.helloBytes()))
					proof[wire.HeaderSize+at] ^= 1 << (at % 8)
					p.write(proof)
				})
			}
			twin.send(wire.AppendResponse(nil, call, []byte("unharmed")))
			if got := wait(t, answer, "the call ends"); got.err != nil || string(got.resp) != "unharmed" {
				t.Errorf("a call of the real node returned %q, %v", got.resp, got.err)
			}
			twin.wantLife(0, "impostors have claimed its name")
			r.alive("after all impostors")
		})
	}
}

// recordedHandshake is what somebody on the wire can see of one.
type recordedHandshake struct{ init, hello, proof, subjects []byte }

// recordDialler has the raw peer connect, prove itself and leave.
func (r *rawCluster) recordDialler(id rawIdentity) (rec recordedHandshake) {
	r.t.Helper()
	p := r.dial()
	rec.init, rec.hello = rawInit(1, 1), p.helloBytes()
	said := p.introduce(rec.hello)
	rec.proof = id.proof(rawDialler, said)
	p.write(rec.proof)
	p.takeSaid(wire.TypeHello)
	rec.subjects = p.takeSaid(wire.TypeProof)
	p.write(wire.AppendReady(nil))
	p.wantLife(0, "the handshake that is recorded")
	p.tc.CloseWithError(0, "")
	synctest.Wait()
	return rec
}

// TestProtocolProvedAreTold holds W57 and W58 to those who have proved that they
// have a key, but are not who is meant: they are told why.
func TestProtocolProvedAreTold(t *testing.T) {
	for _, kind := range identityKinds {
		rawTest(t, "W57 W58 "+kind.name, rawSetup{auth: kind.auth}, func(t *testing.T, r *rawCluster) {
			for name, test := range map[string]struct {
				code   wire.Code
				change func(h *wire.Hello)
			}{
				"another cluster":   {wire.CodeCluster, func(h *wire.Hello) { h.Cluster = "staging" }},
				"meant for another": {wire.CodeName, func(h *wire.Hello) { h.To = "elsewhere" }},
				"no peer":           {wire.CodeName, func(h *wire.Hello) { h.From = "somebody" }},
			} {
				p := r.dial()
				h := p.ownHello()
				test.change(&h)
				said := p.introduce(wire.AppendHello(nil, &h))
				p.write(kind.of(h.From).proof(rawDialler, said))
				if st := p.wantStatus(wire.TypeReject, test.code, name); st.Message == "" {
					t.Errorf("%s: a node that has proved itself is not told why it is refused", name)
				}
			}
		})
	}
}

// TestProtocolMirror sends the subject, which dials, its own frames back, on that
// connection and on one that it accepts. Neither leads anywhere (T16).
func TestProtocolMirror(t *testing.T) {
	for _, kind := range identityKinds {
		rawTest(t, "W58 W71 on its own connection, "+kind.name, rawSetup{auth: kind.auth, dials: true}, func(t *testing.T, r *rawCluster) {
			p := r.accept()
			p.write(p.takeSaid(wire.TypeInit))
			p.write(p.takeSaid(wire.TypeHello))
			p.write(p.takeSaid(wire.TypeProof))
			p.wantClosed(wire.CodeName, "all frames of the dialler sent back")
			wantText(t, "the dialler", r.whyNot(), rawSubject, r.raw)
		})
		rawTest(t, "W58 W71 on another connection, "+kind.name, rawSetup{auth: kind.auth, dials: true}, func(_ *testing.T, r *rawCluster) {
			// The subject greets itself, word by word: its own proof is good, but
			// proves that it is the subject, and is meant for somebody else.
			theirs, mine := r.accept(), r.dial()
			mine.write(theirs.takeSaid(wire.TypeInit))
			theirs.write(mine.takeSaid(wire.TypeInit))
			mine.write(theirs.takeSaid(wire.TypeHello))
			mine.write(theirs.takeSaid(wire.TypeProof))
			mine.wantStatus(wire.TypeReject, wire.CodeName, "the subject's own HELLO and PROOF, on another connection")
			mine.wantClosed(wire.CodeName, "the subject's own HELLO and PROOF, on another connection")
			theirs.wantIdle("nothing was said on the subject's own connection")
			theirs.tc.CloseWithError(0, "")
			r.alive("after the mirror")
		})
	}
}

// TestProtocolFalseAcceptors has acceptors without the right key try everything.
// The dialler refuses them with code 20 and says clearly why at home; the real
// node gets in afterwards (T14, T15, T16, D25).
func TestProtocolFalseAcceptors(t *testing.T) {
	for _, kind := range identityKinds {
		rawTest(t, "W57 W58 W71 W72 "+kind.name, rawSetup{auth: kind.auth, dials: true}, func(t *testing.T, r *rawCluster) {
			own := kind.of(r.raw)
			first := r.accept()
			rec := recordedHandshake{init: rawInit(1, 1), hello: first.helloBytes()}
			rec.proof = own.proof(rawAcceptor, first.introduce(rec.hello))
			first.write(rec.proof)
			first.want(wire.TypeReady, "the handshake that is recorded")
			first.wantLife(0, "the handshake that is recorded")
			first.tc.CloseWithError(0, "")

			attacks := map[string]func(p *rawPeer, said []byte) []byte{
				"a wrong key": func(_ *rawPeer, said []byte) []byte {
					return rawIdentity{shared: make([]byte, 16)}.proof(rawAcceptor, said)
				},
				"the key of another node": func(_ *rawPeer, said []byte) []byte {
					return rawIdentity{private: nodeKey(rawHonest)}.proof(rawAcceptor, said)
				},
				"an empty proof": func(*rawPeer, []byte) []byte { return wire.AppendProof(nil, nil) },
				"the other role": func(_ *rawPeer, said []byte) []byte { return own.proof(rawDialler, said) },
				"a replay":       func(*rawPeer, []byte) []byte { return rec.proof },
				"another binding": func(_ *rawPeer, said []byte) []byte {
					return wire.AppendProof(nil, own.prove(rawTranscript(rawAcceptor, said, make([]byte, 32))))
				},
				"a transcript without the dialler's proof": func(p *rawPeer, said []byte) []byte {
					proof := len(rawFrame(wire.Frame{Body: own.prove(nil)}))
					hello := len(p.helloBytes())
					return own.proof(rawAcceptor, slices.Delete(slices.Clone(said), len(said)-hello-proof, len(said)-hello))
				},
			}
			for name, forge := range attacks {
				p := r.accept()
				p.write(forge(p, p.introduce(p.helloBytes())))
				if reason := p.wantClosed(wire.CodeRejected, name); !strings.Contains(reason, "proof of identity") {
					t.Errorf("%s: the false acceptor is told %q", name, reason)
				}
				wantText(t, name, r.whyNot(), "a node claims to be", r.raw, "proof was not accepted")
			}
			p := r.accept()
			p.introduce(p.helloBytes())
			p.write(wire.AppendPing(nil, wire.TypePing, 1))
			p.wantClosed(wire.CodeProtocol, "PING in place of PROOF")
			p = r.accept()
			p.handshakeAs(own)
			p.wantLife(0, "the real node is back")
		})
	}
}
