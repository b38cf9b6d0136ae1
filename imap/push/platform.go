package push

import "strings"

// platforms are the kinds of tokens that can be told apart by how they begin.
// A token of a newer client is encrypted to the gateway, and says only that.
var platforms = [...]string{"openpgp:", "fcm-", "ubports-", "webpush:", "sandbox:", Other}

// Other is the platform of a token with none of the known beginnings.
const Other = "other"

// platformOf gives the index into platforms.
func platformOf(token string) uint8 {
	for i, p := range platforms[:len(platforms)-1] {
		if strings.HasPrefix(token, p) {
			return uint8(i)
		}
	}
	return uint8(len(platforms) - 1)
}

// Platform tells a token's kind by its visible beginning: "openpgp:", "fcm-",
// "ubports-", "webpush:", "sandbox:" or Other. That is all that is ever said
// of a token.
func Platform(token string) string { return platforms[platformOf(token)] }
