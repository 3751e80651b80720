// The JDK's HttpClient: by default it offers HTTP/2 with every request that is not encrypted.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

public class Jdk {
    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        String key = arguments[1];
        String body = arguments[2];
        var clients =
                Map.of(
                        "default", HttpClient.newHttpClient(),
                        "HTTP/1.1",
                                HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build());
        for (String name : new String[] {"default", "HTTP/1.1"}) {
            for (boolean lengthKnown : new boolean[] {true, false}) {
                for (boolean expect : new boolean[] {false, true}) {
                    HttpRequest.BodyPublisher whole = HttpRequest.BodyPublishers.ofString(body);
                    HttpRequest.BodyPublisher publisher =
                            lengthKnown
                                    ? whole
                                    : HttpRequest.BodyPublishers.fromPublisher(whole);
                    HttpRequest request =
                            HttpRequest.newBuilder(URI.create(url + "/v1/embeddings"))
                                    .header("Authorization", "Bearer " + key)
                                    .header("Content-Type", "application/json")
                                    .expectContinue(expect)
                                    .timeout(Duration.ofSeconds(20))
                                    .POST(publisher)
                                    .build();
                    String what =
                            name
                                    + (lengthKnown ? "" : ", chunked")
                                    + (expect ? ", Expect: 100-continue" : "");
                    System.out.println(what + "\t" + send(clients.get(name), request));
                }
            }
        }
        System.exit(0); // what still waits is given up
    }

    /** Status and text of the answer, or 0 and what was thrown. */
    private static String send(HttpClient client, HttpRequest request) throws InterruptedException {
        try {
            // JDK 17 waits for ever, beyond its own timeout, where 401 comes instead of 100.
            var response =
                    client.sendAsync(request, HttpResponse.BodyHandlers.ofString())
                            .get(30, TimeUnit.SECONDS);
            return response.statusCode() + "\t" + response.body().strip();
        } catch (ExecutionException | TimeoutException error) {
            return "0\t" + error;
        }
    }
}
