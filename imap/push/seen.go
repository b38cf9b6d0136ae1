package push

import "time"

// maxSeen bounds the tokens that are remembered for status.
const maxSeen = 100_000

// seen remembers, of tokens, what an operator may know: their platform, when
// they were last set, and what became of the last request. The Sender's lock
// guards it.
type seen struct {
	tokens    map[digest]sight
	platforms [len(platforms)]tally
}

// sight is what is known of one token.
type sight struct {
	set      uint32 // seconds since 1970
	platform uint8
}

// tally counts for one platform.
type tally struct {
	sent, gone, failed uint64
	last               string
	at                 time.Time
}

func newSeen() *seen { return &seen{tokens: map[digest]sight{}} }

// note takes a token that an account has.
func (s *seen) note(d digest, token string, set time.Time) {
	if _, known := s.tokens[d]; !known && len(s.tokens) >= maxSeen {
		for other := range s.tokens { // in random order
			delete(s.tokens, other)
			break
		}
	}
	s.tokens[d] = sight{uint32(max(set.Unix(), 0)), platformOf(token)}
}

// forget takes a token that is gone.
func (s *seen) forget(d digest) { delete(s.tokens, d) }
