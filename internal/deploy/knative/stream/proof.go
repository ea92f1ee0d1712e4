package stream

// Proof is the first argument of gitd-pod in the container that answers those who issue certificates; the second is the answer, which begins with its token.
const Proof = "proof"

// ProofPath comes before the token where the answer is asked for: RFC 8555, 8.3.
const ProofPath = "/.well-known/acme-challenge/"
