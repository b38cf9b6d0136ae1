package push

import "time"

// maxSeen bounds the tokens that are remembered for status.
const maxSeen = 100_000

// seen remembers, of tokens, what an operator may know: their platform, when
// they were last set, and what became of the last request. The Sender's lock
// guards it.
type seen struct {
	tokens    map[key]sight
	platforms [len(platforms)]tally
}

// sight is what is known of one token. Times are seconds since 1970.
type sight struct {
	set      int64
	platform uint8
}

// tally counts for one platform.
type tally struct {
	sent, gone, failed uint64
	last               string
	at                 time.Time
}

func newSeen() *seen { return &seen{tokens: map[key]sight{}} }

// note takes a token of an account.
func (s *seen) note(k key, token string, set time.Time) {
	if _, known := s.tokens[k]; !known && len(s.tokens) >= maxSeen {
		for other := range s.tokens { // in random order
			delete(s.tokens, other)
			break
		}
	}
	s.tokens[k] = sight{set.Unix(), platformOf(token)}
}

// forget takes a token that is gone.
func (s *seen) forget(k key) { delete(s.tokens, k) }
