"""tokens.py FOLDER ISSUER AUDIENCE COUNT: a key of an issuer, as a JWK set, and tokens that it has signed by ES256."""

import json
import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

folder, issuer, audience, count = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
key = ec.generate_private_key(ec.SECP256R1())
public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
(folder / "jwks.json").write_text(json.dumps({"keys": [public | {"kid": "bench", "alg": "ES256", "use": "sig"}]}))


def line(number: int) -> str:
    claims = {"iss": issuer, "aud": audience, "sub": "bench", "exp": int(time.time()) + 86400, "jti": str(number)}
    return f"authorization: Bearer {jwt.encode(claims, key, 'ES256', headers={'kid': 'bench'})}\n"


(folder / "metadata-token").write_text(line(0))
(folder / "metadata-new-token").write_text("".join(map(line, range(count))))
